"""What a run of the paper's setting costs: its steps, and the bytes that training writes on the way."""

import functools
import pathlib
from dataclasses import dataclass

import torch
from transformers import AutoModel

from kdmcse_hf.data.schedule import FLOOR, make_schedule
from kdmcse_hf.encoding.loading import load_config
from kdmcse_hf.training.training_args import checkpoint_distance

from .data_check import CaptionSet
from .settings import Setting

TEXT_ROWS = 1_000_000  # Wiki1M
# Captions of the sets that are not there yet: five an image, with a few more in COCO.
CAPTION_ROWS = {"flickr": 148_915, "coco": 414_113, "cc12m": 1_000_000}
PARAMETERS = {"google-bert/bert-base-uncased": 109_482_240, "FacebookAI/roberta-base": 124_645_632}


def steps_of_run(setting: Setting, captions: CaptionSet | None) -> int:
    """Optimizer steps of one run.

    Args:
        setting: with the keys of recipes/train.py.
        captions: its caption set, as found; None where it reads none.
    """
    flags = setting.flags
    if (steps := int(flags.get("max_steps", -1))) > 0:
        return steps
    text = _count_lines(flags["text_dataset"]) or TEXT_ROWS
    period = flags.get("multimodal_period", "auto")
    period = {"auto": None, FLOOR: FLOOR}.get(period, period)
    rows = 0 if captions is None else _caption_rows(setting, captions)
    batch_size = int(flags["per_device_train_batch_size"])
    accumulation = int(flags.get("gradient_accumulation_steps", 1))
    schedule = make_schedule(period if period in (None, FLOOR) else int(period), text, rows, batch_size, accumulation)
    return round(float(flags["num_train_epochs"]) * schedule.steps)


def bytes_written(flags: dict, steps: int, parameters: int) -> int:
    """Bytes that training writes at least: a whole checkpoint each `save_steps` steps (which training sets where it is
    not given) and after the last step, and the model at the end.

    A checkpoint holds the weights in float32 and AdamW's two moments; what else is in it is small. Each new best
    between two checkpoints comes on top, weights alone: how many there will be nobody knows before.

    Args:
        flags: keys of recipes/train.py.
        steps: optimizer steps of the run.
        parameters: of the encoder; the projection heads add about one in a hundred.
    """
    every = int(flags.get("save_steps") or checkpoint_distance(steps, flags["eval_steps"]))
    weights = 4 * parameters
    return -(-steps // every) * 3 * weights + weights


@dataclass(frozen=True)
class Cost:
    """Of one run: optimizer steps, bytes that training writes at least, bytes of the model that stays and of each new
    best; None where unknown."""

    steps: int
    written: int | None
    kept: int | None

    def line(self) -> str:
        """In words, for the listing of runs."""
        if self.written is None or self.kept is None:
            return f"{self.steps:,} steps"
        # The last checkpoint, an earlier one that was the best at its time, the new one, and a best between them.
        at_most = size(3 * 3 * self.kept + self.kept)
        return (
            f"{self.steps:,} steps, writes at least {size(self.written)} and {size(self.kept)} more for each new best "
            f"between two checkpoints, at most {at_most} of it at a time"
        )


def cost_of_run(setting: Setting, captions: CaptionSet | None) -> Cost:
    """What one run of a setting costs; `captions` as in `steps_of_run`.

    While it trains, the best checkpoint and the last one stay; at the end the model alone.
    """
    steps, parameters = steps_of_run(setting, captions), encoder_parameters(setting.flags["model_name_or_path"])
    if parameters is None:
        return Cost(steps, None, None)
    return Cost(steps, bytes_written(setting.flags, steps, parameters), 4 * parameters)


@functools.cache
def encoder_parameters(name: str) -> int | None:
    """Parameters of an encoder, from a local directory's configuration; None where that cannot be told offline."""
    if name in PARAMETERS or not pathlib.Path(name).is_dir():
        return PARAMETERS.get(name)
    with torch.device("meta"):
        return AutoModel.from_config(load_config(name), trust_remote_code=False).num_parameters()


def size(count: float) -> str:
    """Bytes in words: 568 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _caption_rows(setting: Setting, found: CaptionSet) -> int:
    images = found.images or found.expected
    if setting.flags.get("captions_per_image") == "one" and images:
        return images
    return found.captions or CAPTION_ROWS[found.argument.partition("-")[0]]


@functools.cache
def _count_lines(path: str) -> int | None:
    if not path.endswith(".txt") or not pathlib.Path(path).is_file():
        return None
    with open(path, "rb") as file:
        return sum(1 for line in file if line.strip())
