"""A private copy of a model repository, so that training can go on changing the original during a push."""

import contextlib
import errno
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from .repository_files import refuse_links_to_elsewhere, repository_files

STAGING = ".push-"  # how the names of the copies' folders begin


@contextlib.contextmanager
def staged(directory: str | pathlib.Path) -> Iterator[pathlib.Path]:
    """A private copy of a repository, which is removed when the context ends; see `stage`."""
    copy = stage(directory)
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def stage(directory: str | pathlib.Path, root: str | pathlib.Path | None = None) -> pathlib.Path:
    """Copy a repository's files into a new hidden folder.

    Weights become hard links where the file system has them. That is safe because checkpoints are never written again
    after they are saved, and a link keeps the content when the checkpoint is deleted. All other files are copied.

    Args:
        directory: folder of the repository.
        root: folder to make the copy in; `directory` itself if None.

    Returns:
        The new folder.

    Raises:
        OSError: there is no room or no permission.
        ValueError: a file is a link to another place, which would be published.
    """
    source = pathlib.Path(directory)
    names = repository_files(source)
    refuse_links_to_elsewhere(source, names)
    copy = pathlib.Path(_folder(pathlib.Path(root or directory)))
    try:
        for name in names:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            if name.suffix != ".safetensors" or not _link(source / name, copy / name):
                shutil.copyfile(source / name, copy / name)
    except OSError:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    return copy


def clear_staging(root: str | pathlib.Path) -> None:
    """Remove the copies in `root` that a killed process has left behind."""
    for path in pathlib.Path(root).glob(f"{STAGING}*"):
        shutil.rmtree(path, ignore_errors=True)


def _folder(root: pathlib.Path) -> str:
    try:
        return tempfile.mkdtemp(prefix=STAGING, dir=root)
    except OSError as error:  # the model may only be read: copy it to the system's folder for temporary files
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return tempfile.mkdtemp(prefix=STAGING)


def _link(source: pathlib.Path, copy: pathlib.Path) -> bool:
    try:
        os.link(source.resolve(), copy)
    except OSError:
        return False
    return True
