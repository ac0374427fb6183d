"""Bugs put in on purpose, each caught by a named attack: proof that the suite would notice."""
