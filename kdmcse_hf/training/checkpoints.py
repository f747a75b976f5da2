"""Checkpoints that can be trusted: which one is whole, and what happens when one cannot be written."""

import os
import pathlib
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import TrainingArguments
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints
from transformers.utils import logging

from ..errors import FailedError, InputError
from ..files import read_json
from ..hub.repository_files import check_weights
from ..model.repository import HEADS_NAME
from ..report.run_directory import STATE_FORM
from .checksums import begin_writing, damage, files_gone, has_checksums, is_being_written, write_checksums

logger = logging.get_logger(__name__)

# Where FSDP and DeepSpeed keep the optimizer instead.
_OTHER_OPTIMIZERS = ("optimizer.bin", "optimizer_0", "latest")


class CheckpointError(FailedError):
    """A checkpoint could not be written; those before it are whole."""


class ResumeError(InputError):
    """A checkpoint that training cannot go on from."""


def newest_whole_checkpoint(output_dir: str) -> str | None:
    """Directory of the checkpoint with most steps that was written to its end, or None.

    Raises:
        ResumeError: there are finished checkpoints, and none of them can be resumed from.
    """
    unusable = []
    for path in _checkpoints(output_dir):
        if is_best_alone(path):
            continue
        fault = checkpoint_fault(path)
        if fault is None:
            return str(path)
        logger.warning(f"{path} cannot be resumed from and is passed over: {fault}")
        if _is_finished(path):
            unusable.append(f"{path}: {fault}")
    if unusable:
        raise ResumeError(
            f"no checkpoint of {output_dir} can be resumed from ({'; '.join(unusable)}). Start anew in another "
            "output_dir, from the checkpoint's weights by model_name_or_path if you like"
        )
    return None


def checkpoint_fault(checkpoint: str | pathlib.Path) -> str | None:
    """What keeps training from going on exactly as it was from this directory, or None.

    Its files are held against the checksums that were written last. Checkpoints of earlier versions, which have none,
    end with `trainer_state.json`, and their other files are looked at for their ends.
    """
    path = pathlib.Path(checkpoint)
    if not path.is_dir():
        return "there is no such directory"
    return _gap(path) or (damage(path) if has_checksums(path) else _cut_short(path))


def _gap(path: pathlib.Path) -> str | None:
    """What is not there."""
    if not _is_finished(path) or not _is_json(path / TRAINER_STATE_NAME, STATE_FORM):
        return f"it was not written to its end, or {TRAINER_STATE_NAME} was cut short or damaged"
    if is_best_alone(path):
        return "it holds a new best alone, weights and heads, which is restored at the end of its run"
    if not any((path / name).exists() for name in (OPTIMIZER_NAME, *_OTHER_OPTIMIZERS)):
        return f"it has no optimizer state ({OPTIMIZER_NAME}), without which training would silently start over"
    for name in ("config.json", HEADS_NAME, SCHEDULER_NAME):
        if not (path / name).is_file():
            return f"{name} is missing"
    if not list(path.glob("rng_state*.pth")):
        return "it has no random state (rng_state.pth)"
    # Checksums tell what else is missing; where FSDP or DeepSpeed keep the optimizer, they have the weights too.
    if not has_checksums(path) and (path / OPTIMIZER_NAME).exists():
        try:
            check_weights(path, {file.name for file in path.iterdir()})
        except (FileNotFoundError, ValueError) as error:
            return str(error)
    return None


def is_best_alone(path: pathlib.Path) -> bool:
    """Whether a directory is a new best that came between two checkpoints: whole, and not meant to resume from."""
    names = (OPTIMIZER_NAME, *_OTHER_OPTIMIZERS, SCHEDULER_NAME)
    if any((path / name).exists() for name in names) or list(path.glob("rng_state*.pth")):
        return False
    if not _is_finished(path) or not _is_json(path / TRAINER_STATE_NAME, STATE_FORM):
        return False
    state = read_json(path / TRAINER_STATE_NAME)
    return state.get("best_global_step") == state.get("global_step")  # else the run saves weights alone all the time


def remove_broken(output_dir: str | pathlib.Path) -> None:
    """Remove checkpoints that were cut short in being written or removed: nothing can be resumed from them.

    One that was damaged later stays: it may be the best, whose loss is an error.
    """
    for path in _checkpoints(output_dir):
        is_half_removed = files_gone(path) if has_checksums(path) else not is_best_alone(path) and _gap(path)
        if not _is_finished(path) or is_half_removed:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def without_rotation(args: TrainingArguments, weights_alone: bool) -> Iterator[None]:
    """Around Trainer's writing of a checkpoint: with weights alone where that is asked for, and nothing is removed."""
    former = args.save_only_model, args.save_total_limit
    args.save_only_model, args.save_total_limit = weights_alone or args.save_only_model, None
    try:
        yield
    finally:
        args.save_only_model, args.save_total_limit = former


def rotate(written: str, best: str | None, limit: int | None) -> None:
    """Remove what is superseded now: all but the best and the last checkpoints, and the bests that came in between.

    Trainer's rotation alone would count a best among the last checkpoints, and leave none to resume from. A best that
    came before the last checkpoint stays until the next one: a run that goes on from there has its best in it.

    Args:
        written: directory of the checkpoint, or of the new best, that was written just now.
        best: that of the best so far.
        limit: checkpoints that stay; None or 0 for all.
    """
    if not limit:
        return
    kept = {pathlib.Path(path).name for path in (written, best) if path}
    is_between = is_best_alone(pathlib.Path(written))
    for path in _checkpoints(pathlib.Path(written).parent):
        if is_best_alone(path):
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        elif is_between:
            return  # this is the last checkpoint, and what is older belongs to it
    rotate_checkpoints(os.path.dirname(written), limit, best, use_mtime=True)


@contextmanager
def written_whole(directory: str, is_main_process: bool) -> Iterator[None]:
    """Around the writing of a checkpoint: until it is done, the directory does not look like a whole one.

    Raises:
        CheckpointError: it could not be written; what there is of it is removed, to give its space back.
    """
    path = pathlib.Path(directory)
    try:
        if is_main_process:
            begin_writing(path)
        yield
        if is_main_process:
            write_checksums(path)
    except Exception as error:  # a full disk is an OSError, a RuntimeError or a SafetensorError, by who meets it
        if is_main_process:
            shutil.rmtree(path, ignore_errors=True)
        left = next((str(other) for other in _checkpoints(path.parent) if checkpoint_fault(other) is None), None)
        raise CheckpointError(
            f"{directory} could not be written: {error}. "
            + (f"{left} is whole: make room" if left else "There is no earlier checkpoint: make room")
            + ", then start the same command with --auto_resume true"
        ) from error


def _checkpoints(output_dir: str | pathlib.Path) -> list[pathlib.Path]:
    """Newest first."""
    prefix = f"{PREFIX_CHECKPOINT_DIR}-"
    found = [path for path in pathlib.Path(output_dir).glob(f"{prefix}*") if path.name[len(prefix) :].isdecimal()]
    return sorted(found, key=lambda path: int(path.name[len(prefix) :]), reverse=True)


def _is_finished(path: pathlib.Path) -> bool:
    return not is_being_written(path) if has_checksums(path) else _is_json(path / TRAINER_STATE_NAME)


def _cut_short(path: pathlib.Path) -> str | None:
    cut = [file.name for file in sorted(path.iterdir()) if not _has_its_end(file)]
    return f"{', '.join(cut)} cut short" if cut else None


def _has_its_end(file: pathlib.Path) -> bool:
    """Formats that say how long they are; others count as whole."""
    if file.suffix in (".pt", ".pth"):
        return zipfile.is_zipfile(file)  # the directory of a zip file stands at its end
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, "pt"):
                return True
        except SafetensorError:
            return False
    return file.suffix != ".json" or _is_json(file)


def _is_json(path: pathlib.Path, form: Any = (dict, list)) -> bool:
    try:
        read_json(path, form)
    except (ValueError, FileNotFoundError):
        return False
    return True
