"""Which images a caption set holds: as many as a configuration expects, and with one caption of each or with all."""

import random

import numpy as np
from transformers.utils import logging

from ..errors import InputError
from ..features.caption_features import CaptionFeatures
from .held_out import CaptionSubset

logger = logging.get_logger(__name__)

# Sizes by which a set that was taken for another is recognised.
KNOWN_SIZES = {
    29_783: "the training split of Flickr30k Entities, which MCSE and KDMCSE train on",
    29_000: "Karpathy's train split of Flickr30k",
    31_014: "all splits of Karpathy's dataset_flickr30k.json",
    31_783: "all of Flickr30k",
    82_783: "COCO's train2014, and Karpathy's train split of COCO",
    113_287: "Karpathy's train and restval splits of COCO",
    118_287: "COCO's train2017",
    123_287: "COCO's train2014 and val2014",
}


def check_image_count(captions: CaptionFeatures, source: str, expected: int | None, strict: bool) -> None:
    """Say it where a caption set holds another number of images than a configuration was written for.

    Args:
        captions: the set.
        source: its name in messages.
        expected: number of images; None accepts any.
        strict: refuse another number, in place of a warning.

    Raises:
        ValueError: another number, and `strict`.
    """
    found = captions.num_images
    if expected is None or found == expected:
        return
    sizes = [f"{number:,} is {KNOWN_SIZES[number]}" for number in (found, expected) if number in KNOWN_SIZES]
    message = (
        f"multimodal_dataset {source} has {found:,} images, expected_images is {expected:,}"
        + f" ({'; '.join(sizes)})" * bool(sizes)
        + ". Results on another set are not those that the configuration stands for. In a feature directory, "
        "problems.jsonl lists the images that could not be used"
    )
    if strict:
        raise InputError(f"{message}. strict_data refuses such a set: take the right one, or strict_data false")
    logger.warning(message)


def one_caption_an_image(captions: CaptionFeatures, seed: int = 0) -> CaptionSubset:
    """One random caption of each image, the same ones in every run: what MCSE's training sets are.

    Args:
        captions: all of them.
        seed: of the draw, which depends on it and on the image's number alone, as that of
            `recipes/extract_features.py --captions one` does.
    """
    ids = captions.image_ids
    order = np.argsort(ids, kind="stable")
    images, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    places = [
        start + random.Random(f"{seed}:{image}").randrange(count)
        for image, start, count in zip(images.tolist(), starts.tolist(), counts.tolist(), strict=True)
    ]
    return CaptionSubset(captions, np.sort(order[places]))
