"""How well a teacher's features find the image of a caption, and the captions of an image.

Every function reads a caption source as `analysis` does. Similarities are cosines of the features.
"""

from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..evaluation.retrieval import normalise
from ..features.caption_features import CaptionFeatures
from .analysis import TIE

TOPS = (1, 5, 10)  # recall@1, recall@5, recall@10
_BLOCK = 1024  # captions read at once


def scan_captions(source: CaptionFeatures) -> tuple[np.ndarray, np.ndarray | None]:
    """Read every caption once.

    Returns:
        image_ids (n,) int64, the image of each caption; similarities (n,) float32, the cosine of each caption with its
        own image, or None where caption and image features cannot be compared.
    """
    ids, similarities = [], []
    comparable = _comparable(source)
    for start in tqdm(range(0, len(source), _BLOCK), desc="reading captions", leave=False):
        rows = source.rows(np.arange(start, min(start + _BLOCK, len(source))))
        ids.append(rows["image_ids"])
        if comparable:
            similarities.append((normalise(rows["text_embeds"]) * normalise(rows["image_embeds"])).sum(axis=1))
    return np.concatenate(ids), np.concatenate(similarities) if comparable else None


def recall_against_chance(
    source: CaptionFeatures, image_ids: np.ndarray, max_images: int = 1000, seed: int = 0
) -> dict[str, dict] | None:
    """Recall@1, @5 and @10 of caption to image and of image to caption, and what chance would reach.

    Exact for the images looked at, in blocks of captions. An image is found where one of its captions is. Candidates
    with the same similarity count as in random order, so that features that are all alike reach chance and no more.

    Args:
        image_ids: (n,) the image of each caption, of `scan_captions`.
        max_images: Random images to look at, with all their captions, if there are more. 1,000 as in the field's usual
            test sets: recall falls as candidates are added.
        seed: Of the choice of images.

    Returns:
        {"caption_to_image": {"queries", "candidates", "recall": {"1", "5", "10"}, "chance": {"1", "5", "10"}},
        "image_to_caption": the same}, shares from 0 to 1; None where the features cannot be compared.
    """
    if not _comparable(source):
        return None
    chosen, first_rows = np.unique(image_ids, return_index=True)
    if len(chosen) > max_images:
        places = np.sort(np.random.default_rng(seed).choice(len(chosen), size=max_images, replace=False))
        chosen, first_rows = chosen[places], first_rows[places]
    images = normalise(source.rows(first_rows)["image_embeds"])
    caption_rows = np.flatnonzero(np.isin(image_ids, chosen))
    owners = np.searchsorted(chosen, image_ids[caption_rows])
    captions_of = np.bincount(owners, minlength=len(chosen))
    to_image, to_caption = _count_candidates(source, caption_rows, owners, images)
    one = np.ones(len(owners), dtype=np.int64)
    return {
        "caption_to_image": _recalls(to_image, (0 * one, len(chosen) - one, one), len(chosen)),
        "image_to_caption": _recalls(
            to_caption, (0 * captions_of, len(owners) - captions_of, captions_of), len(owners)
        ),
    }


def _comparable(source: CaptionFeatures) -> bool:
    return bool(source.text_dim) and source.text_dim == source.image_dim


def _count_candidates(
    source: CaptionFeatures, caption_rows: np.ndarray, owners: np.ndarray, images: np.ndarray
) -> tuple[tuple, tuple]:
    """How many wrong candidates are more similar than the right one, how many wrong and how many right are as similar.

    Returns:
        For captions as queries, three arrays (captions,); for images as queries, three arrays (images,). The right
        candidate of an image is its most similar caption.
    """
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(caption_rows), _BLOCK)]
    best = np.full(len(images), -np.inf, dtype=np.float32)
    for block in blocks:
        texts = normalise(source.rows(caption_rows[block])["text_embeds"])
        np.maximum.at(best, owners[block], (texts * images[owners[block]]).sum(axis=1))
    captions = np.zeros((3, len(owners)), dtype=np.int64)
    of_images = np.zeros((3, len(images)), dtype=np.int64)
    for block in blocks:
        texts = normalise(source.rows(caption_rows[block])["text_embeds"])
        similarities, own = texts @ images.T, owners[block]
        is_own = own[:, None] == np.arange(len(images))
        own_similarity = (texts * images[own]).sum(axis=1, keepdims=True)
        captions[:, block] = _compare(similarities, own_similarity, is_own, axis=1)
        of_images += _compare(similarities, best, is_own, axis=0)
    return tuple(captions), tuple(of_images)


def _compare(similarities: np.ndarray, right: np.ndarray, is_own: np.ndarray, axis: int) -> np.ndarray:
    """Wrong ones above `right`, wrong ones as high, right ones as high: (3, queries)."""
    as_high = np.abs(similarities - right) <= TIE
    above = (similarities > right + TIE) & ~is_own
    return np.stack([part.sum(axis=axis) for part in (above, as_high & ~is_own, as_high & is_own)])


def _recalls(counts: Any, chance_counts: Any, candidates: int) -> dict:
    return {
        "queries": len(counts[0]),
        "candidates": candidates,
        "recall": {str(top): float(expected_hits(*counts, top).mean()) for top in TOPS},  # type: ignore[call-arg]
        "chance": {str(top): float(expected_hits(*chance_counts, top).mean()) for top in TOPS},  # type: ignore[call-arg]
    }


def expected_hits(better: np.ndarray, tied: np.ndarray, own: np.ndarray, top: int) -> np.ndarray:
    """Probability that one of the right candidates is among the first `top`, those of the same similarity shuffled.

    1 minus the probability that all places left after the better candidates go to wrong ones (hypergeometric). With
    no candidate better and all tied, this is what chance reaches.

    Args:
        better: (n,) wrong candidates with a higher similarity than the best right one.
        tied: (n,) wrong candidates with the same similarity.
        own: (n,) right candidates with that similarity, at least 1.
        top: Places to be among.

    Returns:
        (n,) float64.
    """
    places = np.clip(top - better, 0, None)
    missed = np.ones(len(better))
    for place in range(top):
        share = np.clip(tied - place, 0, None) / np.maximum(tied + own - place, 1)
        missed *= np.where(place < places, share, 1.0)
    return 1 - missed


def overlap(true: np.ndarray, random: np.ndarray) -> float | None:
    """The probability that a random pair is more similar than a true pair; equal similarities count one half.

    1 minus the area under the ROC curve (the Mann-Whitney statistic): 0 where the similarities of true and of random
    pairs do not overlap, 0.5 by chance.

    Args:
        true, random: (m,), (n,) similarities.

    Returns:
        From 0 to 1; None where one of the samples is empty.
    """
    if not (len(true) and len(random)):
        return None
    ordered = np.sort(true)
    below = np.searchsorted(ordered, random, side="left").astype(np.int64).sum()
    up_to = np.searchsorted(ordered, random, side="right").astype(np.int64).sum()
    return float(below + up_to) / 2 / (len(true) * len(random))


def worst_pairs(source: CaptionFeatures, image_ids: np.ndarray, similarities: np.ndarray, count: int) -> list[dict]:
    """The captions that are least similar to their own image, the worst first.

    Args:
        image_ids, similarities: (n,) of `scan_captions`.

    Returns:
        [{"similarity", "caption", "image_id"}], at most `count`.
    """
    rows = np.argsort(similarities, kind="stable")[:count]
    texts = source.rows(rows)["text"]
    return [
        {"similarity": round(float(similarities[row]), 4), "caption": text, "image_id": int(image_ids[row])}
        for row, text in zip(rows, texts, strict=True)
    ]
