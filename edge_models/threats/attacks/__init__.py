"""One attack a file; each module ends in `ATTACK`, and `threats/suite.py` lists them."""
