"""Which optimizer steps are caption steps: as Algorithm 1 has it, or as the released code's loaders do."""

import math
from dataclasses import dataclass

from ..errors import InputError

FLOOR = "floor"  # the word for the released code's schedule, in place of a period
Period = int | str | None


@dataclass(frozen=True)
class PaperSchedule:
    """Algorithm 1: step t = 1, 2, ... is a caption step where p divides t, on and on through all epochs.

    Args:
        period: p, at least 1; None where there are no captions.
        steps: optimizer steps of an epoch.
    """

    period: int | None
    steps: int

    def is_caption_step(self, step: int) -> bool:
        """Whether a step, counted from 0 over all epochs, reads captions."""
        return self.period is not None and (step + 1) % self.period == 0

    def caption_steps_before(self, step: int) -> int:
        """Number of caption steps among the first `step` steps."""
        return step // self.period if self.period else 0

    @property
    def name(self) -> int | None:
        """What a run records of it."""
        return self.period


@dataclass(frozen=True)
class ReleasedSchedule:
    """The released MCSE and KDMCSE code: step s = 0, 1, ... of each epoch is a caption step where p divides s.

    Args:
        period: p, at least 1.
        steps: optimizer steps of an epoch.
    """

    period: int
    steps: int

    def is_caption_step(self, step: int) -> bool:
        """Whether a step, counted from 0 over all epochs, reads captions."""
        return step % self.steps % self.period == 0

    def caption_steps_before(self, step: int) -> int:
        """Number of caption steps among the first `step` steps."""
        epochs, rest = divmod(step, self.steps)
        return epochs * math.ceil(self.steps / self.period) + math.ceil(rest / self.period)

    @property
    def name(self) -> str:
        """What a run records of it."""
        return f"{FLOOR} ({self.period})"


def make_schedule(
    period: Period, text_rows: int, caption_rows: int, batch_size: int, accumulation: int
) -> PaperSchedule | ReleasedSchedule:
    """The schedule of a run.

    An epoch of the paper's schedule is one pass over the text with the caption steps between, or over the captions
    where every step is a caption step. An epoch of the released one has as many steps as both sets have batches, so
    that it may leave text unread and read captions twice.

    Args:
        period: a number; None for Algorithm 1's ceil(text_rows / caption_rows), at least 1; "floor" for the released
            code's floor(text batches / caption batches).
        text_rows, caption_rows: sizes of the two sets; one of them may be 0.
        batch_size: rows of a batch on all processes.
        accumulation: batches that make an optimizer step.

    Raises:
        ValueError: a period below 1, or "floor" with fewer text batches than caption batches.
    """
    if isinstance(period, int) and period < 1:
        raise InputError(
            f"multimodal_period is {period}: a caption step every p-th step needs p of at least 1, auto or {FLOOR}"
        )
    text_steps, caption_steps = (rows // batch_size // accumulation for rows in (text_rows, caption_rows))
    if not caption_rows:
        return PaperSchedule(None, max(text_steps, 1))
    if not text_rows:
        return PaperSchedule(1, max(caption_steps, 1))
    if isinstance(period, str):
        return _released(text_rows, caption_rows, batch_size, accumulation)
    every = period or paired_sample_period(text_rows, caption_rows)
    steps = caption_steps if every == 1 else text_steps + text_steps // (every - 1)
    return PaperSchedule(every, max(steps, 1))


def paired_sample_period(text_rows: int, caption_rows: int) -> int:
    """p = ceil(|D| / |D^M|) of Algorithm 1, at least 1: a caption step every p-th step."""
    return max(1, math.ceil(text_rows / caption_rows))


def _released(text_rows: int, caption_rows: int, batch_size: int, accumulation: int) -> ReleasedSchedule:
    """`paired_sample_step` and `num_update_steps_per_epoch` of the released `train_mix.py`."""
    text_batches, caption_batches = (math.ceil(rows / batch_size) for rows in (text_rows, caption_rows))
    if not (period := text_batches // caption_batches):
        raise InputError(
            f"multimodal_period is {FLOOR}, but there are fewer text batches ({text_batches}) than caption batches "
            f"({caption_batches}): the released code divides by zero there. Take auto or a number"
        )
    return ReleasedSchedule(period, math.ceil((text_batches + caption_batches) / accumulation))
