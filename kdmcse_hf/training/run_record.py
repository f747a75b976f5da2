"""What a run depends on, kept in its checkpoints: resuming with something else says what changed and what it means."""

import hashlib
import json
import os
import pathlib

import numpy as np
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState, TrainerCallback

from ..data.batches import MixedRows
from ..files import read_json
from ..model.configuration_kdmcse import KDMCSEConfig
from ..report.run_directory import STATE_FORM
from .training_args import KDMCSETrainingArguments

_SAMPLE = 20_000  # rows of each set that its digest covers, evenly spread; the number of rows is compared beside it
_BLOCK = 1_000

_ORDER = "batches come in another order from here on, so that some rows are read twice and others are not read"
_DROPOUT = "the processes' random states do not fit, so dropout starts over from the seed"
_STEP = "each step from here on sees another batch"
_LOSS = "another loss is minimised from here on, with the optimizer's state of the old one"
_SCHEDULE = "the optimizer goes on with its state, the learning rate as the new schedule has it at this step"
_MEANING = {
    "seed": _ORDER,
    "text_dataset": _ORDER,
    "multimodal_dataset": _ORDER,
    "multimodal_period": _ORDER,
    "max_length": "sentences are cut elsewhere from here on",
    "world_size": _DROPOUT,
    "rows of a step": _STEP + "; " + _ORDER,
    "gradient_accumulation_steps": _STEP,
    "mini_batch_size": "dropout draws other masks from here on",
    "judge": "scores up to here and from here on are of other sentences, and the best is chosen among all of them",
    "attention": "dropout draws other masks from here on, and sums round differently",
}
# What checkpoints of earlier versions, whose record does not name it, were made with.
_EARLIER = {"attention": "sdpa, padded in slices"}
_SCHEDULE_NAMES = (
    "learning_rate",
    "lr_scheduler_type",
    "max_steps",
    "num_train_epochs",
    "warmup_steps",
    "weight_decay",
    "optim",
    "max_grad_norm",
)


class RunRecord(TrainerCallback, ExportableState):
    """The record of a run, which Trainer writes into the `trainer_state.json` of every checkpoint.

    Args:
        record: name and value as JSON has them; those of a finished checkpoint when Trainer restores callbacks.
    """

    def __init__(self, record: dict):
        self.record = record

    def state(self) -> dict:
        """As Trainer stores it."""
        return {"args": {"record": self.record}, "attributes": {}}


def run_record(
    args: KDMCSETrainingArguments,
    rows: MixedRows,
    config: KDMCSEConfig,
    schedule: int | str | None,
    max_length: int,
    judge: str | None,
    attention: str,
) -> dict:
    """Everything that the batches, the loss and the optimizer of a run depend on.

    Args:
        args: of the run.
        rows: that it trains on.
        config: of the model.
        schedule: of caption steps, by the name that `data.schedule` gives it.
        max_length: tokens of a training sentence.
        judge: what the checkpoint is chosen by, in words; None where nothing is scored.
        attention: what computes it, from `encoding.support.attention_name`.
    """
    record = {
        "seed": args.seed if args.data_seed is None else args.data_seed,
        "text_dataset": _digest(rows, 0, rows.text_rows),
        "multimodal_dataset": _digest(rows, rows.text_rows, len(rows)),
        "multimodal_period": schedule,
        "max_length": max_length,
        "world_size": args.world_size,
        "rows of a step": args.world_size * args.per_device_train_batch_size * args.gradient_accumulation_steps,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "mini_batch_size": args.mini_batch_size,
        "judge": judge,
        "attention": attention,
    }
    record |= {name: getattr(args, name) for name in _SCHEDULE_NAMES}
    record |= {f"{name} of the objective": value for name, value in config.objective_values().items()}
    return json.loads(json.dumps(record))  # as a checkpoint gives them back: enums and tuples become JSON's own


def differences(checkpoint: str, record: dict) -> list[str]:
    """One line for each value that differs from the checkpoint's record, with what follows from it."""
    state = read_json(pathlib.Path(checkpoint, TRAINER_STATE_NAME), STATE_FORM)
    stored = state.get("stateful_callbacks", {}).get(RunRecord.__name__)
    if stored is None:
        return []
    old = _EARLIER | stored["args"]["record"]
    return [
        f"{name} was {old[name]!r} and is {value!r}: {_meaning(name)}"
        for name, value in record.items()
        if name in old and old[name] != value
    ]


def _meaning(name: str) -> str:
    return _LOSS if name.endswith("of the objective") else _MEANING.get(name, _SCHEDULE)


def _digest(rows: MixedRows, start: int, end: int) -> str:
    """Number of rows and a checksum of their content, sentences and features."""
    if start == end:
        return "none"
    sample = np.unique(np.linspace(start, end - 1, min(end - start, _SAMPLE)).astype(int)).tolist()
    digest = hashlib.sha256()
    for block in range(0, len(sample), _BLOCK):
        for row in rows.__getitems__(sample[block : block + _BLOCK]):
            for value in row.values():
                digest.update(value.encode() if isinstance(value, str) else np.asarray(value).tobytes())
                digest.update(os.linesep.encode())
    return f"{end - start} rows, SHA-256 {digest.hexdigest()[:12]}..."
