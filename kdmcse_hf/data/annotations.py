"""Captions as plain text from the annotation files in which caption sets are published, without images or features."""

import pathlib

import datasets

from ..annotation_files import read_annotations
from ..errors import InputError


def load_annotations(source: str) -> datasets.Dataset | None:
    """The captions of an annotation file or directory; None where `source` is of another kind.

    Args:
        source: Flickr's .token file, a Karpathy split file, COCO's captions_*.json, a Flickr30k Entities directory. Of
            those with splits the training split is taken: Karpathy's `train`, Entities' `train.txt`.

    Returns:
        Columns `text`, white space made single, and `image_id`, the image's place in the source as
        recipes/extract_features.py numbers it.

    Raises:
        FileNotFoundError, ValueError: no such file, a damaged one, or one without captions.
    """
    try:
        entries = read_annotations(pathlib.Path(source), folder=pathlib.Path(), split="train")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"multimodal_dataset: {error}") from error
    except ValueError as error:
        raise InputError(f"multimodal_dataset: {error}") from error
    if entries is None:
        return None
    strings = ([caption for caption in captions if isinstance(caption, str)] for _, _, captions in entries)
    cleaned = [[" ".join(caption.split()) for caption in captions] for captions in strings]
    rows = [(text, image) for image, captions in enumerate(cleaned) for text in captions if text]
    if not rows:
        raise InputError(f"multimodal_dataset {source} has no captions of its training split")
    texts, images = zip(*rows, strict=True)
    return datasets.Dataset.from_dict({"text": list(texts), "image_id": list(images)})
