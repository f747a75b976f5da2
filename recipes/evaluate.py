"""Launcher of `kdmcse_hf.commands.evaluate`: score models on the papers' evaluation tasks."""

import sys

from kdmcse_hf.commands.launch import launch

if __name__ == "__main__":
    sys.exit(launch("evaluate"))
