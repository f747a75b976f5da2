"""The paper's tables and figures, run by run; started by recipes/reproduce.py."""
