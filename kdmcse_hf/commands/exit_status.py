"""What the commands share: the name they go by, messages without tokens, and the exit status of unusable input."""

import argparse
import pathlib
import re
import sys
from collections.abc import Callable
from typing import NoReturn

STOPPED_BY_CTRL_C = 130  # 128 and the number of the signal, as shells have it
GIVE_TOKEN = "give the token by the environment's HF_TOKEN, or by `hf auth login`"
# With a capital, a digit or great length, so that a folder such as hf_models keeps its name.
_TOKEN = re.compile(r"\b(hf_|api_org_)(?=\w*[A-Z\d]|\w{16})\w{6,}")


def program_name() -> str:
    """As the user typed it, for usage and messages: `kdmcse train` of the console command, `train.py` of a recipe."""
    return pathlib.Path(sys.argv[0]).name


def without_tokens(message: str) -> str:
    """A message for the terminal, where a log may keep it: a token of the Hub that stands in it is not repeated."""
    hidden = _TOKEN.sub(r"\1...", message)
    return message if hidden == message else f"{hidden.rstrip()}; {GIVE_TOKEN}"


def refuse_tokens(keys: dict, place: str) -> None:
    """Refuse a token where all keys of a run are written into a file.

    Args:
        keys: of recipes/train.py, with their values.
        place: the file, for the message.

    Raises:
        ValueError: one of them is a token.
    """
    for name, value in keys.items():
        if value is not None and name.endswith("_token"):
            raise ValueError(f"{name}: all keys are kept in {place}, where a token must not be; {GIVE_TOKEN}")


class CommandParser(argparse.ArgumentParser):
    """A parser whose messages repeat no token."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        super().error(without_tokens(message))


def run_or_refuse(program: str, run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run; return 0, or 2 on unusable input, with one message. Anything else raises."""
    try:
        run(arguments)
    except (ValueError, FileNotFoundError, ImportError) as error:
        print(without_tokens(f"{program}: {error}"), file=sys.stderr)
        return 2
    return 0
