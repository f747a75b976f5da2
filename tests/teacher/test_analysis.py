"""Similarities, ranks and thresholds against slow loops over pairs."""

import inspect

import numpy as np
import pytest

from kdmcse_hf.teacher import analysis

CAPTIONS, WIDTH = 60, 6


class Source:
    """Captions in memory, of pictures with one to four of them; one caption stands twice."""

    def __init__(self, seed: int = 0, text_width: int = WIDTH) -> None:
        generator = np.random.default_rng(seed)
        self.ids = np.sort(generator.integers(100, 125, size=CAPTIONS))
        images = generator.normal(size=(200, WIDTH)).astype(np.float32)
        self.images = images[self.ids]
        self.texts = self.images[:, :text_width] + 1.5 * generator.normal(size=(CAPTIONS, text_width)).astype(
            np.float32
        )
        self.texts[40] = self.texts[3]
        self.image_dim, self.text_dim = WIDTH, text_width

    def __len__(self) -> int:
        return CAPTIONS

    def rows(self, indices) -> dict:
        text = [f"caption {index}" for index in indices]
        features = {"image_embeds": self.images[indices], "text_embeds": self.texts[indices]}
        return {"text": text, "image_ids": self.ids[indices], **features}


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def all_negatives(source: Source) -> dict[str, list[float]]:
    """Cosines of all pairs of different pictures, pair by pair in float64."""
    pairs = [(i, j) for i in range(CAPTIONS) for j in range(CAPTIONS) if source.ids[i] != source.ids[j]]
    return {
        "caption_image": [cosine(source.texts[i], source.images[j]) for i, j in pairs],
        "caption_caption": [cosine(source.texts[i], source.texts[j]) for i, j in pairs],
    }


@pytest.mark.parametrize("block", [7, 1000])
def test_farthest_ranks_equal_a_sort_of_all_captions(block):
    """The farthest caption's place in the sorted list of all captions, whatever the block."""
    source = Source()
    image_ids, ranks = analysis.farthest_ranks(source, block=block)
    assert image_ids.tolist() == sorted(set(source.ids.tolist()))
    for image_id, rank in zip(image_ids, ranks, strict=True):
        own = np.flatnonzero(source.ids == image_id)
        similarities = np.array([cosine(text, source.images[own[0]]) for text in source.texts])
        before = [row for row in range(CAPTIONS) if row in own or similarities[row] > similarities[own].min() + 1e-9]
        assert rank == len(before)
    assert len(set(ranks.tolist())) > 5


def test_ranks_of_a_sample_are_those_of_all():
    """Fewer pictures are ranked among the same captions."""
    image_ids, ranks = analysis.farthest_ranks(Source())
    some_ids, some_ranks = analysis.farthest_ranks(Source(), max_images=5, block=9)
    assert len(some_ids) == 5
    assert some_ranks.tolist() == ranks[np.searchsorted(image_ids, some_ids)].tolist()


def test_thresholds_are_quantiles_of_negatives():
    """The source is smaller than a batch, so that every batch holds every pair."""
    source, batches = Source(), analysis.THRESHOLD_SAMPLE["num_batches"]
    for quantile in (0.5, 0.99):
        found = analysis.threshold_by_quantile(source, quantile)
        for kind, values in all_negatives(source).items():
            assert found[kind] == pytest.approx(np.quantile(np.tile(values, batches), quantile), abs=1e-5)


def test_a_threshold_depends_on_the_captions_and_the_quantile_alone():
    """No caller can draw another sample, so that training and inspection find the same number."""
    assert list(inspect.signature(analysis.threshold_by_quantile).parameters) == ["source", "quantile"]
    assert analysis.threshold_by_quantile(Source(), 0.9) == analysis.threshold_by_quantile(Source(), 0.9)


def test_threshold_of_repeated_captions_still_leaves_them_out():
    """Where the share is filled by captions of the same words, the threshold is just below 1."""
    source = Source()
    source.texts[:] = source.texts[0]
    found = analysis.threshold_by_quantile(source, 0.999)["caption_caption"]
    assert 0.99999 < found < 1
    rows = source.rows(np.arange(CAPTIONS))
    similarities, is_negative = analysis.batch_similarities(rows)["caption_caption"]
    assert (similarities[is_negative] >= found).all()


def test_thresholds_that_cannot_be_are_none_or_refused():
    """Features of unlike widths have no caption-image similarity; of images alone there is none at all."""
    assert analysis.threshold_by_quantile(Source(text_width=4))["caption_image"] is None
    assert analysis.threshold_by_quantile(Source(text_width=4))["caption_caption"] is not None
    assert set(analysis.threshold_by_quantile(Source(text_width=0)).values()) == {None}
    with pytest.raises(ValueError, match="quantile 1 is not between 0 and 1"):
        analysis.threshold_by_quantile(Source(), 1)
    one_picture = Source()
    one_picture.ids[:] = 7
    with pytest.raises(ValueError, match="all captions are of one picture"):
        analysis.threshold_by_quantile(one_picture)
    with pytest.raises(ValueError, match="captions have 4 features, images 6"):
        analysis.farthest_ranks(Source(text_width=4))


def test_filtered_shares_count_what_training_leaves_out():
    """Shares over all pairs in one batch of everything, counted pair by pair."""
    source = Source()
    shares = analysis.filtered_shares(source, [-1.1, 0.3, 0.7, 1.1], CAPTIONS, num_batches=1, seed=0)
    for kind, values in all_negatives(source).items():
        for row in shares[kind]:
            assert row["negatives"] == pytest.approx(np.mean(np.array(values) >= row["threshold"]), abs=1e-9)
        least, *_, most = shares[kind]
        assert (least["rows_emptied"], least["batches_emptied"], least["batches_touched"]) == (1, 1, 1)
        assert (most["rows_emptied"], most["batches_emptied"], most["batches_touched"]) == (0, 0, 0)


def test_pairs_and_examples_are_of_the_right_pictures():
    """True pairs are of one picture, examples of two, and their similarity is that of their texts."""
    source = Source()
    pairs = analysis.pair_similarities(source, batch_size=CAPTIONS, num_batches=1, seed=0)
    own = [cosine(source.texts[i], source.images[i]) for i in range(CAPTIONS)]
    assert np.sort(pairs["caption_image"]["true"]) == pytest.approx(np.sort(own), abs=1e-5)
    same = [
        cosine(source.texts[i], source.texts[j])
        for i in range(CAPTIONS)
        for j in range(i)
        if source.ids[i] == source.ids[j]
    ]
    assert np.sort(pairs["caption_caption"]["true"]) == pytest.approx(np.sort(same), abs=1e-5)
    assert np.sort(pairs["caption_caption"]["random"]) == pytest.approx(
        np.sort(all_negatives(source)["caption_caption"]), abs=1e-5
    )
    thresholds = {"caption_image": 0.5, "caption_caption": 0.6}
    for kind, examples in analysis.examples_above(source, thresholds, 40, 3, 0, count=10).items():
        assert len(examples) == 10
        for example in examples:
            row, column = (int(example[name].split()[1]) for name in ("caption", "other_caption"))
            other = (source.images if kind == "caption_image" else source.texts)[column]
            assert example["similarity"] == pytest.approx(cosine(source.texts[row], other), abs=1e-4)
            assert example["similarity"] >= thresholds[kind] - 1e-4
            assert example["image_id"] != example["other_image_id"]
