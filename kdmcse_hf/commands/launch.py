"""Start a command by its name: its module, and with it torch, is imported only when there is work for it."""

import importlib
import sys

from ..launcher import end_with_launcher
from .exit_status import STOPPED_BY_CTRL_C, program_name
from .help_texts import stored_help


def launch(command: str, words: list[str] | None = None) -> int:
    """Run a command; return its exit status.

    Args:
        command: as in `__main__.COMMANDS`.
        words: what follows it; those of the command line by default.
    """
    words = sys.argv[1:] if words is None else words
    if words in (["--help"], ["-h"]):
        print(stored_help(command, program_name()), end="")
        return 0
    end_with_launcher()
    try:
        module = importlib.import_module(f".{command.replace('-', '_')}", __package__)
        return module.main(words)
    except KeyboardInterrupt:
        print(f"\n{program_name()}: stopped", file=sys.stderr)
        return STOPPED_BY_CTRL_C
