"""Launcher of `kdmcse_hf.commands.extract_features`: the frozen teacher's features of images and captions."""

import sys

from kdmcse_hf.commands.launch import launch

if __name__ == "__main__":
    sys.exit(launch("extract-features"))
