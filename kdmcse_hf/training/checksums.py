"""The SHA-256 of each file of a checkpoint, in a file that is written last: it tells a checkpoint that is whole.

A bit that turned over in weights, optimizer or random state would otherwise change the rest of the run unseen.
"""

import json
import pathlib

from ..files import read_json, sha256, write_text
from ..hub.repository_files import CARD_FILES

CHECKSUMS_NAME = "checksums.json"
_BEING_WRITTEN = "This checkpoint is being written.\n"


def begin_writing(checkpoint: pathlib.Path) -> None:
    """Mark a directory, which is made if it is not there, as a checkpoint that is not whole yet.

    Raises:
        OSError: it cannot be written.
    """
    checkpoint.mkdir(parents=True, exist_ok=True)
    write_text(checkpoint / CHECKSUMS_NAME, _BEING_WRITTEN)


def write_checksums(checkpoint: pathlib.Path) -> None:
    """Mark a checkpoint as whole, once all processes are done with it. The card's files come later, and are left out.

    Raises:
        OSError: a file cannot be read, or the checksums cannot be written.
    """
    paths = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    names = [path.relative_to(checkpoint).as_posix() for path in paths]
    kept = [name for name in names if name not in (CHECKSUMS_NAME, *CARD_FILES) and not name.startswith(".")]
    listing = {"files": [{"file": name, "sha256": sha256(checkpoint / name)} for name in kept]}
    write_text(checkpoint / CHECKSUMS_NAME, json.dumps(listing, indent=1))


def has_checksums(checkpoint: pathlib.Path) -> bool:
    """Whether writing was begun; checkpoints of earlier versions have none."""
    return (checkpoint / CHECKSUMS_NAME).exists()


def is_being_written(checkpoint: pathlib.Path) -> bool:
    """Whether writing was begun, and not ended."""
    try:
        return (checkpoint / CHECKSUMS_NAME).read_bytes() == _BEING_WRITTEN.encode()
    except OSError:
        return False


def files_gone(checkpoint: pathlib.Path) -> list[str]:
    """Names of the files that were there when the checkpoint was written; none where there are no checksums."""
    return [name for name, _ in _listing(checkpoint) or [] if not (checkpoint / name).is_file()]


def damage(checkpoint: pathlib.Path) -> str | None:
    """Which files are not as they were written, in words; None if all are, or where there are no checksums."""
    if not has_checksums(checkpoint):
        return None
    if (listing := _listing(checkpoint)) is None:
        return f"{CHECKSUMS_NAME} is damaged"
    changed = [name for name, digest in listing if not _is_as_written(checkpoint / name, digest)]
    return f"not as it was written, or missing ({CHECKSUMS_NAME}): {', '.join(changed)}" if changed else None


def _listing(checkpoint: pathlib.Path) -> list[tuple[str, str]] | None:
    """Names and digests; a list, so that a name which turned into another one's hides none."""
    try:
        found = read_json(checkpoint / CHECKSUMS_NAME, {"files": [{"file": str, "sha256": str}]})
        return [(each["file"], each["sha256"]) for each in found["files"]]
    except (OSError, ValueError):
        return None


def _is_as_written(path: pathlib.Path, digest: str) -> bool:
    try:
        return sha256(path) == digest
    except OSError:  # it is missing, or the disk cannot read it any more
        return False
