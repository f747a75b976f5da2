"""One run at a time in an output_dir: what two of them leave there belongs to neither."""

import os
import pathlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from accelerate.utils import broadcast_object_list
from transformers.utils import logging

from ..errors import InputError
from ..files import take_lock

logger = logging.get_logger(__name__)

LOCK_NAME = ".run.lock"
_PATIENCE = 30.0  # seconds that a run which was sent SIGTERM has to leave, as launchers have it

_held: dict[str, TextIO | None] = {}  # folders of this process's runs; the file where it is the one with the lock


class OutputInUseError(InputError):
    """Another run is writing to this output_dir."""


@contextmanager
def run_lock(output_dir: str, is_main_process: bool) -> Iterator[None]:
    """Hold the lock of a run's folder; called in all processes of the run, of which the main one holds it.

    It is released when the context ends, or the process. Inside of a context of the same process it does nothing.
    Systems without such locks, and file systems mounted without them, let a second run pass.

    Raises:
        OutputInUseError: another run holds it, and still did after 30 seconds. All processes raise it.
        OSError: the lock's file cannot be written. All processes raise it.
    """
    folder = os.path.realpath(output_dir)
    is_inner = folder in _held
    file = _in_main_process(lambda: None if is_inner else _acquire(folder), is_main_process)
    if is_inner:
        yield
        return
    _held[folder] = file
    try:
        yield
    finally:
        if (file := _held.pop(folder, None)) is not None:
            pathlib.Path(folder, LOCK_NAME).unlink(missing_ok=True)
            file.close()


def check_not_in_use(output_dir: str, is_main_process: bool) -> None:
    """Refuse a folder that another run holds, before minutes of reading data; makes nothing where there is none.

    Raises:
        OutputInUseError, OSError: as `run_lock`.
    """

    def check() -> None:
        if pathlib.Path(folder, LOCK_NAME).exists() and folder not in _held:
            _acquire(folder).close()

    folder = os.path.realpath(output_dir)
    _in_main_process(check, is_main_process)


def _in_main_process(action: Callable[[], TextIO | None], is_main_process: bool) -> TextIO | None:
    """What it gives there, None elsewhere; what it raises there all processes raise, so that none waits on."""
    failure: list[Exception | None] = [None]
    result = None
    if is_main_process:
        try:
            result = action()
        except (OutputInUseError, OSError) as error:
            failure = [error]
    broadcast_object_list(failure)
    if failure[0] is not None:
        raise failure[0]
    return result


def _acquire(folder: str) -> TextIO:
    os.makedirs(folder, exist_ok=True)
    path, end, is_waiting = pathlib.Path(folder, LOCK_NAME), time.monotonic() + _PATIENCE, False
    while True:
        file = open(path, "a+", encoding="utf-8", opener=_no_link)  # noqa: SIM115 - open as long as the lock is held
        if not _is_free(file):
            holder = path.read_text(encoding="utf-8").strip() or "another process"
            file.close()
            if time.monotonic() > end:
                raise OutputInUseError(
                    f"output_dir {folder} is in use by another run, {holder}, and what two runs leave in one folder "
                    "belongs to neither: take another output_dir, or wait for the end of that run, or end it"
                )
            if not is_waiting:
                logger.warning(f"output_dir {folder} is in use by {holder}: waiting {_PATIENCE:.0f} s for its end")
            is_waiting = True
            time.sleep(0.2)
        elif _is_still(path, file):
            file.truncate(0)
            file.write(f"process {os.getpid()} on host {socket.gethostname()}\n")
            file.flush()
            return file
        else:
            file.close()  # the run before has removed it meanwhile


def _no_link(path: str, flags: int) -> int:
    """The file is emptied: a link that somebody has planted there must not have another one emptied."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_free(file: TextIO) -> bool:
    try:
        return take_lock(file)
    except OSError as error:  # some network file systems
        logger.warning(f"{file.name} cannot be locked ({error}): nothing keeps a second run out of this output_dir")
        return True


def _is_still(path: pathlib.Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _let_go() -> None:
    """In a forked process, such as a data worker: the lock is free as soon as the trainer is dead."""
    for file in filter(None, _held.values()):
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
