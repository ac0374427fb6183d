"""Synthetic windows: three ways to make them, and how close they come to people and to persons."""
