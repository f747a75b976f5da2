"""The exit status that the commands share."""

import argparse
import sys
from collections.abc import Callable


def run_or_refuse(program: str, run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run; return 0, or 2 on unusable input, with one message. Anything else raises."""
    try:
        run(arguments)
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0
