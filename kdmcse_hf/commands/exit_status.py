"""What the commands share: the name they go by, and the exit status of unusable input."""

import argparse
import pathlib
import sys
from collections.abc import Callable

STOPPED_BY_CTRL_C = 130  # 128 and the number of the signal, as shells have it


def program_name() -> str:
    """As the user typed it, for usage and messages: `kdmcse train` of the console command, `train.py` of a recipe."""
    return pathlib.Path(sys.argv[0]).name


def run_or_refuse(program: str, run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run; return 0, or 2 on unusable input, with one message. Anything else raises."""
    try:
        run(arguments)
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0
