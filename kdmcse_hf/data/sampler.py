"""`MixedBatchSampler`: batches of text and of captions, in the order that a schedule says."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from ..errors import InputError
from .schedule import Period, make_schedule


class MixedBatchSampler(Sampler[list[int]]):
    """Batches of text rows, and of caption rows at every p-th optimizer step t = 1, 2, ... (Algorithm 1).

    With the period "floor" it is the released code's schedule instead (`schedule.ReleasedSchedule`).

    Every batch is a pure function of seed, epoch and step: no state moves on while iterating, so training resumes
    anywhere and all processes agree on the kind of each step. Both sets are run through in a new random order again
    and again, rows left over at the end of a pass (fewer than a batch) being left out of it. The global batch is
    drawn first and then cut by rank, so that W processes of B rows see what one process of W * B sees.

    Rows are numbered through: text rows from 0, caption rows from `text_rows`. An epoch is one pass over the text
    rows with the caption steps between them; where every step is a caption step, one pass over the captions.

    Captions of one image may meet in a batch: they are masked out of the loss rather than kept apart here, so that
    every caption stays equally likely in every batch, images with more captions than batches raise no problem, and
    captions that meet across processes are covered too.

    Args:
        text_rows, caption_rows: sizes of the two sets; one of them may be 0.
        batch_size: B, rows of a process in a batch.
        period: p of Algorithm 1; None for ceil(text_rows / caption_rows); "floor" for the released code's schedule.
        accumulation: batches of one kind that make an optimizer step.
        seed: of all orders, at least 0.
        rank, world_size: this process and how many there are.

    Raises:
        ValueError: no rows at all, a set with fewer rows than the batch of all processes, a period below 1, or "floor"
            with fewer text batches than caption batches.
    """

    def __init__(
        self,
        text_rows: int,
        caption_rows: int,
        batch_size: int,
        period: Period = None,
        accumulation: int = 1,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        _check_sizes(text_rows, caption_rows, batch_size, world_size)
        self.schedule = make_schedule(period, text_rows, caption_rows, batch_size * world_size, accumulation)
        self.accumulation, self.epoch = accumulation, 0
        self._rank_rows = slice(rank * batch_size, (rank + 1) * batch_size)
        self._text = _Passes(range(text_rows), batch_size * world_size, (seed, 0))
        self._captions = _Passes(range(text_rows, text_rows + caption_rows), batch_size * world_size, (seed, 1))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of an epoch, a multiple of `accumulation`."""
        return self.schedule.steps * self.accumulation

    @property
    def period(self) -> int | None:
        """p of the schedule; None where there are no captions."""
        return self.schedule.period

    def __iter__(self) -> Iterator[list[int]]:
        first = self.epoch * len(self)
        for index in range(first, first + len(self)):
            yield self.batch(index)

    def is_caption_batch(self, index: int) -> bool:
        """Kind of batch `index`, counted from 0 over all epochs: is its optimizer step a caption step?"""
        return self.schedule.is_caption_step(index // self.accumulation)

    def batch(self, index: int) -> list[int]:
        """Rows of this process in batch `index`, counted from 0 over all epochs."""
        step, micro = divmod(index, self.accumulation)
        caption_steps = self.schedule.caption_steps_before(step)
        if self.is_caption_batch(index):
            rows = self._captions.batch(caption_steps * self.accumulation + micro)
        else:
            rows = self._text.batch((step - caption_steps) * self.accumulation + micro)
        return rows[self._rank_rows].tolist()


class _Passes:
    """Endless passes over some rows, each in its own random order and cut into whole batches."""

    def __init__(self, rows: range, batch_size: int, key: tuple[int, int]):
        self.rows, self.batch_size, self.key = rows, batch_size, key
        self._turn, self._order = -1, np.empty(0, dtype=np.int64)  # the order last asked for, not a state

    def __len__(self) -> int:
        """Batches of a pass."""
        return len(self.rows) // self.batch_size

    def batch(self, position: int) -> np.ndarray:
        """Rows of batch `position`, counted from 0 over all passes."""
        turn, index = divmod(position, len(self))
        if turn != self._turn:
            self._turn = turn
            self._order = self.rows.start + np.random.default_rng((*self.key, turn)).permutation(len(self.rows))
        return self._order[index * self.batch_size : (index + 1) * self.batch_size]


def _check_sizes(text_rows: int, caption_rows: int, batch_size: int, world_size: int) -> None:
    needed = batch_size * world_size
    for name, rows in (("text_dataset", text_rows), ("multimodal_dataset", caption_rows)):
        if 0 < rows < needed:
            raise InputError(
                f"{name} has {rows} usable rows, fewer than one batch of {needed} (per_device_train_batch_size "
                f"{batch_size} x {world_size} processes): take more rows or a smaller batch"
            )
    if not text_rows + caption_rows:
        raise InputError("neither text_dataset nor multimodal_dataset has rows: there is nothing to train on")
