"""The schedule of Algorithm 1, as a pure function."""

import collections
import math

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kdmcse_hf.data.sampler import MixedBatchSampler
from kdmcse_hf.data.schedule import paired_sample_period


def kinds(sampler: MixedBatchSampler, text_rows: int) -> list[bool]:
    return [batch[0] >= text_rows for batch in sampler]


def test_a_caption_step_every_pth_step_counted_from_one():
    sampler = MixedBatchSampler(text_rows=100, caption_rows=30, batch_size=10)
    assert sampler.period == math.ceil(100 / 30) == 4
    assert kinds(sampler, 100) == [(t % 4 == 0) for t in range(1, 14)]


@pytest.mark.parametrize(("text", "captions", "period"), [(10**6, 29_783, 34), (10**6, 148_915, 7), (50, 100, 1)])
def test_the_period_of_the_papers_settings(text, captions, period):
    """Flickr30k with one or five captions an image; a caption set larger than the text set."""
    assert paired_sample_period(text, captions) == period


def test_an_epoch_reads_every_text_row_once_and_no_row_twice_in_a_pass():
    sampler = MixedBatchSampler(text_rows=100, caption_rows=50, batch_size=10)
    rows = [row for batch in sampler for row in batch if row < 100]
    assert sorted(rows) == list(range(100))
    captions = [row for batch in sampler for row in batch if row >= 100]
    assert max(collections.Counter(captions).values()) == math.ceil(len(captions) / 50)


sizes = {
    "text": st.integers(0, 200),
    "captions": st.integers(0, 200),
    "batch": st.integers(1, 8),
    "world": st.sampled_from([1, 2, 4]),
    "period": st.one_of(st.none(), st.just("floor"), st.integers(1, 5)),
    "accumulation": st.integers(1, 3),
    "seed": st.integers(0, 99),
    "epoch": st.integers(0, 3),
}


def samplers(text, captions, batch, world, period, accumulation, seed, **_):
    return [MixedBatchSampler(text, captions, batch, period, accumulation, seed, rank, world) for rank in range(world)]


@settings(deadline=None, max_examples=60)
@given(**sizes)
def test_ranks_share_a_global_batch_of_one_kind(**size):
    if not size["text"] + size["captions"] or any(
        0 < size[name] < size["batch"] * size["world"] for name in ("text", "captions")
    ):
        return
    if size["period"] == "floor" and 0 < size["text"] < size["captions"]:
        return
    ranks = samplers(**size)
    for sampler in ranks:
        sampler.set_epoch(size["epoch"])
    one = MixedBatchSampler(
        size["text"],
        size["captions"],
        size["batch"] * size["world"],
        size["period"],
        size["accumulation"],
        size["seed"],
    )
    one.set_epoch(size["epoch"])
    steps = list(zip(*ranks, strict=True))
    assert len(steps) == len(ranks[0]) == len(one) > 0
    assert len(one) % size["accumulation"] == 0
    for index, (parts, whole) in enumerate(zip(steps, one, strict=True)):
        assert all(len(part) == size["batch"] for part in parts)
        assert [row for part in parts for row in part] == whole, "one process of W * B rows must see the same"
        assert len(set(whole)) == len(whole)
        assert len({row >= size["text"] for row in whole}) == 1
        step = index // size["accumulation"] * size["accumulation"]
        assert (one.batch(index)[0] >= size["text"]) == (one.batch(step)[0] >= size["text"]) or size["epoch"] > 0


def test_batches_do_not_depend_on_what_was_read_before():
    sampler = MixedBatchSampler(100, 30, 10, seed=3)
    in_order = [sampler.batch(index) for index in range(60)]
    fresh = MixedBatchSampler(100, 30, 10, seed=3)
    assert [fresh.batch(index) for index in reversed(range(60))] == in_order[::-1]
    fresh.set_epoch(2)
    assert list(fresh) == in_order[2 * len(fresh) : 3 * len(fresh)]


def test_seed_and_epoch_change_the_order():
    first, other = MixedBatchSampler(100, 30, 10, seed=0), MixedBatchSampler(100, 30, 10, seed=1)
    assert list(first) != list(other)
    epoch = list(first)
    first.set_epoch(1)
    assert list(first) != epoch


def test_a_smaller_text_set_means_caption_steps_only():
    sampler = MixedBatchSampler(text_rows=20, caption_rows=50, batch_size=10)
    assert all(kinds(sampler, 20))
    assert sorted(row for batch in sampler for row in batch) == list(range(20, 70))


def test_one_kind_alone():
    assert not any(kinds(MixedBatchSampler(50, 0, 10), 50))
    assert all(kinds(MixedBatchSampler(0, 50, 10, period=7), 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text_rows": 0, "caption_rows": 0, "batch_size": 4}, "nothing to train on"),
        ({"text_rows": 9, "caption_rows": 30, "batch_size": 5, "world_size": 2}, "text_dataset has 9 usable rows"),
        ({"text_rows": 50, "caption_rows": 3, "batch_size": 4}, "multimodal_dataset has 3 usable rows"),
        ({"text_rows": 50, "caption_rows": 9, "batch_size": 4, "period": 0}, "multimodal_period is 0"),
    ],
)
def test_what_cannot_be_scheduled_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixedBatchSampler(**arguments)
