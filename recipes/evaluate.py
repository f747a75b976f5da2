"""Launcher of `kdmcse_hf.commands.evaluate`: score models on the papers' evaluation tasks."""

import sys

from kdmcse_hf.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
