"""Launcher of `kdmcse_hf.commands.report`: one HTML page about a training run, or about several side by side."""

import sys

from kdmcse_hf.commands.launch import launch

if __name__ == "__main__":
    sys.exit(launch("report"))
