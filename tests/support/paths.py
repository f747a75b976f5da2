"""Where the checkout is, for tests that start its programs or read its files."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
SUPPORT = ROOT / "tests" / "support"
