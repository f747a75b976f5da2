"""Which steps are caption steps: the released code's schedule against its training loop, and the published sizes."""

import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kdmcse_hf.data.sampler import MixedBatchSampler
from kdmcse_hf.data.schedule import PaperSchedule, ReleasedSchedule, make_schedule, paired_sample_period

WIKI = 1_000_000
FLICKR_ONE, FLICKR, COCO_ONE, COCO = 29_783, 148_915, 82_783, 414_113


def released_loop(text_rows: int, caption_rows: int, batch_size: int, epochs: int) -> list[bool]:
    """The loop of the released `train_mix.py`, for the kind of each step: True where it reads the paired loader."""
    text_loader, paired_loader = (math.ceil(rows / batch_size) for rows in (text_rows, caption_rows))
    num_update_steps_per_epoch = math.ceil((text_loader + paired_loader) / 1)
    paired_sample_step = text_loader // paired_loader
    kinds = []
    for _ in range(epochs):
        for step in range(num_update_steps_per_epoch):
            kinds.append(step % paired_sample_step == 0)
    return kinds


@settings(deadline=None, max_examples=80)
@given(text=st.integers(20, 400), captions=st.integers(5, 400), batch=st.integers(1, 5))
def test_floor_is_the_released_loop(text, captions, batch):
    if math.ceil(text / batch) < math.ceil(captions / batch):
        with pytest.raises(ValueError, match="the released code divides by zero"):
            make_schedule("floor", text, captions, batch, 1)
        return
    schedule = make_schedule("floor", text, captions, batch, 1)
    kinds = released_loop(text, captions, batch, epochs=3)
    assert [schedule.is_caption_step(step) for step in range(3 * schedule.steps)] == kinds
    assert [schedule.caption_steps_before(step) for step in range(len(kinds) + 1)] == [
        sum(kinds[:step]) for step in range(len(kinds) + 1)
    ]


@settings(deadline=None, max_examples=40)
@given(text=st.integers(8, 200), captions=st.integers(8, 200), period=st.sampled_from([None, 1, 2, 5, "floor"]))
def test_caption_steps_are_counted_as_they_come(text, captions, period):
    if period == "floor" and text < captions:
        return
    schedule = make_schedule(period, text, captions, 4, 1)
    kinds = [schedule.is_caption_step(step) for step in range(3 * schedule.steps)]
    assert [schedule.caption_steps_before(step) for step in range(len(kinds))] == [
        sum(kinds[:step]) for step in range(len(kinds))
    ]


@pytest.mark.parametrize(
    ("captions", "batch", "period", "steps", "caption_steps"),
    [
        (FLICKR, 64, 6, 17_952, 2_992),
        (COCO, 64, 2, 22_096, 11_048),
        (FLICKR_ONE, 64, 33, 16_091, 488),
        (COCO_ONE, 64, 12, 16_919, 1_410),
        (FLICKR, 128, 6, 8_977, 1_497),
        (COCO, 128, 2, 11_049, 5_525),
        (FLICKR_ONE, 128, 33, 8_046, 244),
        (COCO_ONE, 128, 12, 8_460, 705),
    ],
)
def test_the_released_schedule_of_the_published_sizes(captions, batch, period, steps, caption_steps):
    """Wiki1M with all captions, as KDMCSE has them, or with one an image, as MCSE does; BERT's batch and RoBERTa's."""
    schedule = make_schedule("floor", WIKI, captions, batch, 1)
    assert schedule == ReleasedSchedule(period, steps)
    assert schedule.caption_steps_before(steps) == caption_steps


@pytest.mark.parametrize(
    ("captions", "period", "steps", "caption_steps"), [(FLICKR, 7, 18_229, 2_604), (COCO, 3, 23_437, 7_812)]
)
def test_algorithm_1_of_the_published_sizes(captions, period, steps, caption_steps):
    schedule = make_schedule(None, WIKI, captions, 64, 1)
    assert paired_sample_period(WIKI, captions) == period
    assert schedule == PaperSchedule(period, steps)
    assert schedule.caption_steps_before(steps) == caption_steps


def test_the_sampler_reads_on_where_an_epoch_of_the_released_schedule_ends():
    """The released loaders do not start anew at an epoch: each is read to its end before it is shuffled again."""
    sampler = MixedBatchSampler(text_rows=40, caption_rows=20, batch_size=4, period="floor")
    assert (sampler.period, len(sampler)) == (2, 15)
    batches = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        batches += list(sampler)
    kinds = [batch[0] >= 40 for batch in batches]
    assert kinds == released_loop(40, 20, 4, epochs=4)
    assert kinds[14:16] == [True, True], "the last step of an epoch and the first of the next are both caption steps"
    text = [row for batch in batches for row in batch if row < 40]
    captions = [row for batch in batches for row in batch if row >= 40]
    assert sorted(text[:40]) == list(range(40))
    for first in range(0, len(captions) - 19, 20):
        assert sorted(captions[first : first + 20]) == list(range(40, 60))


def test_accumulated_batches_are_of_one_kind():
    sampler = MixedBatchSampler(text_rows=60, caption_rows=20, batch_size=4, period="floor", accumulation=2)
    assert (sampler.period, len(sampler)) == (3, 20)
    kinds = [batch[0] >= 60 for batch in sampler]
    assert kinds == [step % 3 == 0 for step in range(10) for _ in range(2)]


def test_one_kind_alone_needs_no_period():
    assert make_schedule("floor", 50, 0, 10, 1) == PaperSchedule(None, 5)
    assert make_schedule("floor", 0, 50, 10, 1) == PaperSchedule(1, 5)
