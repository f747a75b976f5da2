"""The grades of teachers that are known to be good, weak or useless."""

import numpy as np
import pytest
from drawn_features import DrawnFeatures, draw_features

from kdmcse_hf.teacher.report import verdict_report
from kdmcse_hf.teacher.verdict import FEWEST_IMAGES, judge

SAMPLING = {"batch_size": 64, "num_batches": 50, "seed": 0}


def verdict_on(texts: np.ndarray | None, images: np.ndarray | None, ids: np.ndarray) -> dict:
    """What the report says of these features."""
    return verdict_report(DrawnFeatures(texts, images, ids), SAMPLING, examples=3)[0]["verdict"]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("images", "captions"), [(FEWEST_IMAGES, 1), (FEWEST_IMAGES, 5), (400, 2)])
def test_a_random_teacher_is_useless(images, captions, seed):
    """Captions that have nothing to do with their image, few or many."""
    assert verdict_on(*draw_features(images, captions, noise=np.inf, seed=seed))["grade"] == "useless"


def test_a_collapsed_teacher_is_useless():
    """All features alike, as of a tower whose weights were lost."""
    texts, images, ids = draw_features(100, 2, noise=0.5)
    assert verdict_on(np.ones_like(texts), images, ids)["grade"] == "useless"
    assert verdict_on(texts, np.ones_like(images), ids)["grade"] == "useless"


def test_grades_follow_the_noise():
    """From captions that say what is there to captions that hardly do, the grade falls and never rises."""
    noises = (0.1, 0.5, 1.0, 2.0, 4.0, 8.0, np.inf)
    grades = [verdict_on(*draw_features(300, 3, noise=noise, width=64))["grade"] for noise in noises]
    order = ("good", "weak", "useless")
    assert [order.index(grade) for grade in grades] == sorted(order.index(grade) for grade in grades)
    assert (grades[0], grades[-1], set(grades)) == ("good", "useless", set(order))


def test_captions_joined_to_the_wrong_images_are_told_from_an_untrained_teacher():
    """Sound captions beside the wrong images call for another check than features that are random altogether."""
    texts, images, ids = draw_features(300, 3, noise=0.3)
    shifted = verdict_on(texts, np.roll(images, 3, axis=0), ids)
    assert shifted["grade"] == "useless"
    assert "joined to the right images, and that one model" in shifted["advice"]
    random = verdict_on(*draw_features(300, 3, noise=np.inf))
    assert "trained weights were loaded" in random["advice"]


def test_a_good_overlap_alone_is_not_good():
    """A teacher that knows the topic of an image and nothing more separates random pairs and finds no image."""
    generator = np.random.default_rng(0)
    topics = generator.integers(0, 25, size=1000)
    features = generator.normal(size=(25, 32))[topics]
    features += 0.01 * generator.normal(size=features.shape)
    texts = features + 0.2 * generator.normal(size=features.shape)
    report = verdict_report(DrawnFeatures(texts, features, np.arange(1000)), SAMPLING, examples=0)[0]
    assert report["overlap"]["caption_image"] < 0.05
    assert report["verdict"]["grade"] == "weak"


def test_features_of_images_alone_are_not_judged():
    """As of MCSE's files."""
    _, images, ids = draw_features(100, 2, noise=1.0)
    verdict = verdict_on(None, images, ids)
    assert verdict["grade"] is None
    assert "no caption features" in verdict["reason"]
    assert "mcse trains with image features alone" in verdict["advice"]


def test_features_of_captions_alone_are_called_useless_or_left_open():
    """Captions of one image tell an untrained encoder; nothing tells whether they match the images."""
    texts, images, ids = draw_features(100, 3, noise=0.5)
    verdict = verdict_on(texts, None, ids)
    assert verdict["grade"] is None
    assert "no image features" in verdict["reason"]
    assert verdict_on(np.random.default_rng(0).normal(size=texts.shape), None, ids)["grade"] == "useless"
    wide = verdict_on(texts, np.pad(images, ((0, 0), (0, 4))), ids)
    assert wide["grade"] is None
    assert "(20 wide) and caption features (16 wide) cannot be compared" in wide["reason"]
    one_each = verdict_on(texts[::3], None, ids[::3])
    assert "No image has two captions" in one_each["reason"]


def test_a_few_images_are_not_judged():
    """A perfect teacher of too few images is not called anything."""
    texts, images, ids = draw_features(FEWEST_IMAGES - 1, 3, noise=0.1)
    verdict = verdict_on(texts, images, ids)
    assert verdict["grade"] is None
    assert f"{FEWEST_IMAGES - 1} images are too few" in verdict["reason"]
    assert verdict_on(*draw_features(FEWEST_IMAGES, 3, noise=0.1))["grade"] == "good"


@pytest.mark.parametrize(
    ("overlap", "recall", "grade"),
    [(0.05, 0.5, "good"), (0.051, 0.9, "weak"), (0.01, 0.49, "weak"), (0.3, 0.5, "weak"), (0.31, 0.9, "useless")],
)
def test_the_criteria_hold_at_their_edges(overlap, recall, grade):
    """The lower of the two recalls counts."""
    recalls = {"caption_to_image": {"recall": {"10": 0.95}}, "image_to_caption": {"recall": {"10": recall}}}
    overlaps = {"caption_image": overlap, "caption_caption": None}
    assert judge(1000, overlaps, recalls, 512, 512).grade == grade
