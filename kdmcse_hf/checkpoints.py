"""Finding the checkpoint to go on from."""

import json
import pathlib

from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.utils import logging

from .repository import HEADS_NAME

logger = logging.get_logger(__name__)

_NEEDED = ("config.json", HEADS_NAME, OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME)


def newest_whole_checkpoint(output_dir: str) -> str | None:
    """Directory of the checkpoint with most steps that was written to its end, or None.

    Trainer writes `trainer_state.json` last: a checkpoint without it, or without its optimizer, was cut short.
    """
    found = [path for path in pathlib.Path(output_dir).glob("checkpoint-*") if path.name[11:].isdecimal()]
    for path in sorted(found, key=lambda path: int(path.name[11:]), reverse=True):
        if all((path / name).is_file() for name in _NEEDED) and _is_json(path / TRAINER_STATE_NAME):
            return str(path)
        logger.warning(f"{path} was not written to its end and is passed over")
    return None


def _is_json(path: pathlib.Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
