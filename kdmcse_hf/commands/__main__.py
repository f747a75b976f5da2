"""The console command `kdmcse COMMAND ...`; `python -m kdmcse_hf.commands COMMAND ...` is the same.

A command's module is imported when it is called for, so that `kdmcse --help` does not wait for torch.
"""

import argparse
import sys

from ..version import __version__
from .exit_status import CommandParser
from .help_texts import COMMANDS
from .launch import launch


def main(argv: list[str] | None = None) -> int:
    """Run the command that the first word names, with the words after it; return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    command = _parser().parse_args(words[:1]).command
    sys.argv[0] = f"kdmcse {command}"  # by this name the command goes in its usage and messages
    return launch(command, words[1:])


def _parser() -> argparse.ArgumentParser:
    """Of the first word; all others are the command's."""
    width = max(map(len, COMMANDS))
    parser = CommandParser(
        prog="kdmcse",
        usage="kdmcse COMMAND ...",
        description="KDMCSE sentence embeddings with a vision-language teacher.",
        epilog="\n".join(
            ["commands:", *(f"  {name:{width}}  {what}" for name, what in COMMANDS.items())]
            + ["", "kdmcse COMMAND --help tells all about a command."]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"kdmcse {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
