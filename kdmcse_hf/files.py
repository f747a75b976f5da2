"""Checksums of files, locks on them, and writing one so that its name is never there with half of its content."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import TextIO

try:
    import fcntl
except ImportError:  # neither Linux nor macOS
    fcntl = None  # type: ignore[assignment]

TEMPORARY_SUFFIX = ".tmp"


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, in hexadecimal digits.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary name beside `path`, which the written file gives up for `path` when the context ends.

    The content is on the disk before the file is renamed, so a process or machine that dies leaves the old file, or
    none, and a temporary file at most. Where the context raises, the temporary file is removed.

    Yields:
        The name to write to: that of `path`, the process id and `TEMPORARY_SUFFIX`.

    Raises:
        OSError: the file cannot be written.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike, content: dict | list) -> None:
    """Write a JSON file, indented by one space and with a line end, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def take_lock(file: TextIO) -> bool:
    """Lock an open file until it is closed, by children that inherit it too; whether it was free.

    Systems without such locks, neither Linux nor macOS, always say that it was.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
