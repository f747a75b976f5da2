"""Launcher of `kdmcse_hf.commands.push`: a trained model to the Hub, whole and verified."""

import sys

from kdmcse_hf.commands.launch import launch

if __name__ == "__main__":
    sys.exit(launch("push"))
