"""Launcher of `kdmcse_hf.commands.extract_features`: the frozen teacher's features of images and captions."""

import sys

from kdmcse_hf.commands.extract_features import main

if __name__ == "__main__":
    sys.exit(main())
