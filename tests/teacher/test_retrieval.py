"""Recall, overlap and worst pairs against slow loops over pairs."""

import itertools
from math import comb

import numpy as np
import pytest
from drawn_features import DrawnFeatures, draw_features
from hypothesis import given, settings
from hypothesis import strategies as st

from kdmcse_hf.teacher import retrieval
from kdmcse_hf.teacher.retrieval import (
    expected_hits,
    overlap,
    recall_against_chance,
    scan_captions,
    worst_pairs,
)

DIRECTIONS = ("caption_to_image", "image_to_caption")
SIMILARITIES = st.lists(st.integers(-4, 4), min_size=1, max_size=12).map(lambda values: np.array(values) / 4)


def cosines(texts: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Pair by pair, in float64."""
    return np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in images] for a in texts])


@pytest.mark.parametrize("block", [7, 1024])
def test_recall_is_that_of_a_sort_of_all_candidates(block, monkeypatch):
    """Both directions, counted query by query, whatever the block."""
    monkeypatch.setattr(retrieval, "_BLOCK", block)
    texts, images, ids = draw_features(images=40, captions=3, noise=1.5)
    source = DrawnFeatures(texts, images, ids + 100)
    found = recall_against_chance(source, ids + 100)
    similarities = cosines(texts, images[::3])
    for top in (1, 5, 10):
        nearest = np.argsort(-similarities, axis=1)[:, :top]
        of_captions = np.mean([ids[row] in nearest[row] for row in range(len(ids))])
        assert found["caption_to_image"]["recall"][str(top)] == pytest.approx(of_captions)
        nearest = np.argsort(-similarities.T, axis=1)[:, :top]
        of_images = np.mean([image in ids[nearest[image]] for image in range(40)])
        assert found["image_to_caption"]["recall"][str(top)] == pytest.approx(of_images)
    assert 0.1 < found["caption_to_image"]["recall"]["1"] < 0.9, "neither all nor nothing is found"
    assert [(found[name]["queries"], found[name]["candidates"]) for name in DIRECTIONS] == [(120, 40), (40, 120)]


def test_recall_of_a_sample_is_that_of_a_set_of_these_images():
    """The sampled images are the only candidates, with all their captions and no others."""
    texts, images, ids = draw_features(images=50, captions=4, noise=1.5)
    found = recall_against_chance(DrawnFeatures(texts, images, ids), ids, max_images=20, seed=3)
    chosen = np.sort(np.random.default_rng(3).choice(50, size=20, replace=False))
    rows = np.isin(ids, chosen)
    assert found == recall_against_chance(DrawnFeatures(texts[rows], images[rows], ids[rows]), ids[rows])
    assert found["image_to_caption"]["candidates"] == 80


def test_the_order_of_the_captions_does_not_matter():
    """Captions of one image need not stand together."""
    texts, images, ids = draw_features(images=30, captions=3, noise=1.0)
    order = np.random.default_rng(0).permutation(len(ids))
    shuffled = recall_against_chance(DrawnFeatures(texts[order], images[order], ids[order]), ids[order])
    assert shuffled == recall_against_chance(DrawnFeatures(texts, images, ids), ids)


def test_features_that_are_all_alike_reach_chance_and_no_more():
    """Ties are no hits: a collapsed teacher must not look perfect."""
    ids = np.repeat(np.arange(20), 3)
    alike = np.ones((60, 4))
    found = recall_against_chance(DrawnFeatures(alike, alike, ids), ids)
    for direction in DIRECTIONS:
        assert found[direction]["recall"] == pytest.approx(found[direction]["chance"])


def test_chance_is_what_random_features_reach_on_average():
    """Over a hundred random teachers of images with one to three captions."""
    ids = np.repeat(np.arange(30), np.arange(30) % 3 + 1)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(100):
        images = generator.normal(size=(30, 16))[ids]
        found.append(recall_against_chance(DrawnFeatures(generator.normal(size=images.shape), images, ids), ids))
    for direction in DIRECTIONS:
        for top, chance in found[0][direction]["chance"].items():
            assert np.mean([one[direction]["recall"][top] for one in found]) == pytest.approx(chance, abs=0.02)
    assert found[0]["caption_to_image"]["chance"]["5"] == pytest.approx(5 / 30)


@given(better=st.integers(0, 12), tied=st.integers(0, 15), own=st.integers(1, 6), top=st.integers(1, 10))
def test_expected_hits_are_a_fraction_of_all_orders(better, tied, own, top):
    """All ways to give the places left to the candidates with the same similarity, counted by binomials."""
    places = min(max(top - better, 0), tied + own)
    expected = 1 - comb(tied, places) / comb(tied + own, places)
    assert expected_hits(np.array([better]), np.array([tied]), np.array([own]), top)[0] == pytest.approx(expected)


def test_expected_hits_of_a_small_case_by_writing_down_all_orders():
    """Two right ones among five of the same similarity, behind one better: a hit within the first three."""
    orders = list(itertools.permutations(["right", "right", "wrong", "wrong", "wrong"]))
    share = np.mean(["right" in order[:2] for order in orders])
    assert expected_hits(np.array([1]), np.array([3]), np.array([2]), 3)[0] == pytest.approx(share)


@given(true=SIMILARITIES, random=SIMILARITIES)
def test_overlap_is_counted_over_all_pairs_of_pairs(true, random):
    """Every random pair against every true pair; equal ones are half; the other way round is the rest."""
    counted = np.mean([(b > a) + 0.5 * (b == a) for a in true for b in random])
    assert overlap(true, random) == pytest.approx(counted)
    assert overlap(true, random) + overlap(random, true) == pytest.approx(1)
    assert overlap(np.exp(true) - 7, np.exp(random) - 7) == pytest.approx(counted), "only the order counts"


def test_overlap_without_pairs_is_not_a_number():
    """No image with two captions has no true pair of captions."""
    assert overlap(np.empty(0), np.ones(3)) is None
    assert overlap(np.ones(3), np.empty(0)) is None


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_the_length_of_features_does_not_matter(scale, seed):
    """Similarities are cosines."""
    texts, images, ids = draw_features(images=15, captions=2, noise=1.0, seed=seed)
    scaled = recall_against_chance(DrawnFeatures(scale * texts, images / scale, ids), ids)
    plain = recall_against_chance(DrawnFeatures(texts, images, ids), ids)
    for direction in DIRECTIONS:
        assert scaled[direction]["recall"] == pytest.approx(plain[direction]["recall"])


def test_the_scan_finds_images_similarities_and_the_worst_pairs():
    """Each caption with its own image, over more than one block."""
    texts, images, ids = draw_features(images=800, captions=2, noise=1.0)
    source = DrawnFeatures(texts, images, ids)
    image_ids, similarities = scan_captions(source)
    expected = (texts * images).sum(1) / np.linalg.norm(texts, axis=1) / np.linalg.norm(images, axis=1)
    assert image_ids.tolist() == ids.tolist()
    np.testing.assert_allclose(similarities, expected, atol=1e-5)
    worst = worst_pairs(source, image_ids, similarities, count=3)
    assert [pair["caption"] for pair in worst] == [f"caption {row}" for row in np.argsort(expected)[:3]]
    assert [pair["image_id"] for pair in worst] == [ids[row] for row in np.argsort(expected)[:3]]
    assert worst[0]["similarity"] == pytest.approx(expected.min(), abs=1e-4)


@pytest.mark.parametrize("missing", ["texts", "images", "width"])
def test_features_that_cannot_be_compared_have_no_recall(missing):
    """Of images alone, of captions alone, and of different widths."""
    texts, images, ids = draw_features(images=20, captions=2, noise=1.0)
    texts = None if missing == "texts" else texts[:, :5] if missing == "width" else texts
    source = DrawnFeatures(texts, None if missing == "images" else images, ids)
    image_ids, similarities = scan_captions(source)
    assert image_ids.tolist() == ids.tolist()
    assert similarities is None
    assert recall_against_chance(source, image_ids) is None
