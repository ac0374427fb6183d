"""Whose features are attacked: ours, and others' through one small protocol (`system.py`)."""
