"""Launcher of `kdmcse_hf.commands.inspect_teacher`: what a threshold on the teacher's similarities would filter."""

import sys

from kdmcse_hf.commands.launch import launch

if __name__ == "__main__":
    sys.exit(launch("inspect-teacher"))
