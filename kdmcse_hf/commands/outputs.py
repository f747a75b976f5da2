"""Where a command writes: what cannot be written to is found before the work, not after it."""

import os
import pathlib
import tempfile

from ..errors import InputError


def check_folder(folder: str | os.PathLike, argument: str) -> None:
    """Refuse a folder, there or to be made, that no file can be written to; makes nothing.

    Args:
        folder: where a command is to write.
        argument: how the command line names it, with its dashes.

    Raises:
        InputError: it is a file, or it or the nearest folder that is there takes no file.
    """
    path = pathlib.Path(folder).absolute()
    try:
        existing = next(each for each in (path, *path.parents) if each.exists())
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        raise InputError(f"{argument} {folder} cannot be written to: {error.strerror}. Take another one") from error


def check_file(file: str | os.PathLike, argument: str) -> None:
    """Refuse a file, there or to be made, that is a folder or in a folder that takes none; see `check_folder`.

    Raises:
        InputError: that is so.
    """
    path = pathlib.Path(file)
    if path.is_dir():
        raise InputError(f"{argument} {file} is a folder: give the name of a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{argument} {file} is no regular file, and would be replaced by one: give another name")
    check_folder(pathlib.Path(file).absolute().parent, argument)
