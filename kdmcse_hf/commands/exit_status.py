"""What the commands share: the name they go by, messages without tokens, and what each failure ends with."""

import argparse
import errno
import pathlib
import re
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from ..errors import FailedError, InputError
from ..ranges import Range

AT_LEAST_1 = Range(type=int, least=1)
SEED = Range(type=int, least=0, most=2**32 - 1)  # what numpy takes
STOPPED_BY_CTRL_C = 130  # 128 and the number of the signal, as shells have it
GIVE_TOKEN = "give the token by the environment's HF_TOKEN, or by `hf auth login`"
REPORT_IT = (
    "this is a bug of kdmcse_hf, not of what was given. Please report it, with the command and the lines above, in "
    "the issues of the repository that the package came from"
)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
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
            raise InputError(f"{name}: all keys are kept in {place}, where a token must not be; {GIVE_TOKEN}")


def ranged(allowed: Range) -> Callable[[str], Any]:
    """A type for argparse: what the text of a flag says, where that is in the range."""

    def read(text: str) -> Any:
        try:
            value = allowed.type(text)
            allowed.check("", value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"found {text!r:.200}, {allowed.allowed()} is needed") from None
        return value

    return read


class CommandParser(argparse.ArgumentParser):
    """A parser whose messages repeat no token."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        super().error(without_tokens(message))


def exit_status(program: str, work: Callable[[], int | None]) -> int:
    """Do the work of a command, and turn whatever it raises into a message and an exit status.

    Returns:
        What `work` returns, or 0; 2 where arguments or input cannot be used, 1 where the machine or the Hub failed,
        each with one message; 130 on Ctrl-C. Anything else is a bug: its traceback is printed, with where to report
        it, and the status is 1.
    """
    try:
        return work() or 0
    except KeyboardInterrupt:
        print(f"\n{program}: stopped", file=sys.stderr)
        return STOPPED_BY_CTRL_C
    except Exception as error:
        expected = message_and_status(error)
        if expected is None:
            print(without_tokens(traceback.format_exc()) + f"{program}: {REPORT_IT}", file=sys.stderr)
            return 1
        print(without_tokens(f"{program}: {expected[0]}"), file=sys.stderr)
        return expected[1]


def message_and_status(error: Exception) -> tuple[str, int] | None:
    """What to say of a failure that is no bug, and the exit status; None of all others."""
    if isinstance(error, InputError):
        return f"--{error}" if error.argument else str(error), 2
    is_path = isinstance(error, FileNotFoundError | FileExistsError | IsADirectoryError | NotADirectoryError)
    if is_path or isinstance(error, ImportError) or getattr(error, "errno", None) == errno.ENAMETOOLONG:
        return _words(error), 2
    if is_out_of_memory(error):
        return f"the memory is full: {error or 'no more could be had'}. Take smaller batches, or another machine", 1
    if isinstance(error, OSError) and error.errno in _FULL:
        return f"{_words(error)}. Make room, then give the same command again", 1
    # Of httpx, with which huggingface_hub asks the Hub: no class of it is an OSError.
    if isinstance(error, OSError | FailedError) or any(base.__module__ == "httpx" for base in type(error).__mro__):
        return _words(error), 1
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was full, of the machine or of a GPU: torch has a RuntimeError for both."""
    words = ("out of memory", "can't allocate memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(each in str(error) for each in words)
    )


def _words(error: Exception) -> str:
    """The message of an error; those of the system's own with the path in front in place of its number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__
