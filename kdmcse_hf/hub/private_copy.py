"""A private copy of a model repository, which training does not change while it is being pushed."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from .repository_files import repository_files

STAGING = ".push-"


@contextlib.contextmanager
def staged(directory: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A private copy of a repository while the context lasts; see `stage`."""
    copy = stage(directory)
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def stage(directory: str | pathlib.Path, root: str | pathlib.Path | None = None) -> pathlib.Path:
    """Copy a repository's files into a new hidden folder below `root` (`directory` itself by default).

    Weights are hard links where the disk has them: checkpoints are written once and then only deleted, which a link
    outlives. Everything else is copied.

    Raises:
        OSError: no room, no permission.
    """
    source = pathlib.Path(directory)
    copy = pathlib.Path(_folder(pathlib.Path(root or directory)))
    try:
        for name in repository_files(source):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if name.suffix != ".safetensors" or not _link(source / name, copy / name):
                shutil.copyfile(source / name, copy / name)
    except OSError:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    return copy


def clear_staging(root: str | pathlib.Path) -> None:
    """Remove what a process that was killed has left."""
    for path in pathlib.Path(root).glob(f"{STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _folder(root: pathlib.Path) -> str:
    try:
        return tempfile.mkdtemp(prefix=STAGING, dir=root)
    except PermissionError:  # a model to be read only
        return tempfile.mkdtemp(prefix=STAGING)


def _link(source: pathlib.Path, copy: pathlib.Path) -> bool:
    try:
        os.link(source.resolve(), copy)
    except OSError:
        return False
    return True
