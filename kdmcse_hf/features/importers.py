"""Importing features that others have computed into a feature directory: the released code's JSON, MCSE's HDF5."""

import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import TextIO

import numpy as np

from ..errors import InputError
from ..files import read_text
from .writer import EMPTY_CAPTION, NO_CAPTION, FeatureShard, FeatureWriter

CHUNK = 1 << 20  # characters read at once
LARGEST_ENTRY = 1 << 26  # characters; an entry with five captions in 768 dimensions has about 100,000
SEPARATORS = re.compile(r"[\s,:]*")


@dataclass(frozen=True)
class ImportedImage:
    """One image with its captions and features.

    Args:
        name: File name or key.
        image_embeds: (image width,) float16.
        captions: Captions in single spaces; one may be empty.
        text_embeds: (captions, text width) float16, or None if there are features of images only.
    """

    name: str
    image_embeds: np.ndarray
    captions: list[str]
    text_embeds: np.ndarray | None


def read_released_json(path: str | os.PathLike) -> Iterator[ImportedImage]:
    """Read the released code's JSON, `{image: {"image_feat", "captions", "lang_feat"}}`, one image at a time.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short or of another form, or an entry's features do not fit its captions.
    """
    seen = set()
    for name, entry in _stream_members(pathlib.Path(path)):
        if name in seen:
            raise InputError(f"{path} holds image {name!r} twice: keep one")
        seen.add(name)
        try:
            captions = [entry["captions"]] if isinstance(entry["captions"], str) else entry["captions"]
            if not isinstance(captions, list):
                raise TypeError(f"captions is a {type(captions).__name__}")
            image_embeds = _vectors(entry, "image_feat", 1)[0]
            text_embeds = _vectors(entry, "lang_feat", len(captions)) if captions else np.empty((0, len(image_embeds)))
            cleaned = [" ".join(caption.split()) for caption in captions]
            "".join([name, *cleaned]).encode()  # half of a surrogate pair is no character, and cannot be stored
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{path}, image {name!r}: {error}; expected image_feat (width), captions (n), lang_feat (n, width)"
            ) from error
        yield ImportedImage(name, image_embeds, cleaned, text_embeds)


def _vectors(entry: dict, name: str, count: int) -> np.ndarray:
    """The features of an entry, (count, width) float16; also of shape (count, 1, width), and (width,) of a single one.

    Raises:
        ValueError: They have another shape: turned into this one, they would be others' features.
    """
    try:
        found = np.asarray(entry[name], dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is no list of numbers, nor lists of them of one length") from None
    squeezed = found[:, 0] if found.ndim == 3 and found.shape[1] == 1 else found
    if squeezed.ndim == 1 and count == 1:
        squeezed = squeezed[None]
    if squeezed.ndim != 2 or len(squeezed) != count or not squeezed.size:
        raise InputError(f"{name} has shape {found.shape}, ({count}, width) is needed")
    return _to_half(squeezed)


def read_mcse_hdf5(path: str | os.PathLike, captions_path: str | os.PathLike) -> Iterator[ImportedImage]:
    """Read MCSE's features, one image at a time.

    Args:
        path: HDF5 file with a dataset `features`, (n, width).
        captions_path: Text file of n captions, one per line, in the same order.

    Raises:
        FileNotFoundError: One of the files is missing.
        ValueError: There is no such dataset, it is damaged, or the files differ in length.
        ImportError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Reading HDF5 needs h5py: pip install 'kdmcse_hf[hdf5]'") from error
    for file in (path, captions_path):
        if not pathlib.Path(file).is_file():
            raise FileNotFoundError(f"{file}: no such file")
    lines = read_text(pathlib.Path(captions_path)).split("\n")
    captions = [" ".join(line.split()) for line in (lines if lines[-1] else lines[:-1])]
    try:
        with h5py.File(path, "r") as file:
            yield from _hdf5_rows(h5py, file, path, captions, captions_path)
    except (OSError, RuntimeError, KeyError, TypeError, UnicodeError) as error:  # h5py's, of what is damaged
        raise InputError(f"{path} is no whole HDF5 file ({error}): fetch it again") from error


def _hdf5_rows(h5py: ModuleType, file, path, captions: list[str], captions_path) -> Iterator[ImportedImage]:
    features = file.get("features")
    if not isinstance(features, h5py.Dataset) or features.dtype.kind not in "fiu":
        raise InputError(f"{path} holds {list(file)}, a dataset `features` of numbers is needed")
    if features.ndim != 2 or len(features) != len(captions) or not features.size:
        raise InputError(
            f"{path} has dataset features of shape {features.shape}, {captions_path} has {len(captions)} lines: "
            "they do not belong together"
        )
    for start in range(0, len(captions), 1024):
        try:
            block = _to_half(features[start : start + 1024])
        except ValueError as error:
            raise InputError(f"{path}, rows {start} to {start + 1023}: {error}") from error
        for row, vector in enumerate(block, start=start):
            yield ImportedImage(f"{pathlib.Path(path).name}:{row}", vector, [captions[row]], None)


def import_images(images: Iterable[ImportedImage], writer: FeatureWriter, images_per_shard: int) -> int:
    """Write imported features as shards, without those that are complete already.

    Args:
        images: All images, in the order of their numbers.
        writer: Of the feature directory.
        images_per_shard: Number of images in each shard but the last.

    Returns:
        The number of shards.
    """
    iterator = enumerate(images)
    number = 0
    while part := list(islice(iterator, images_per_shard)):
        if not writer.is_done(number):
            writer.write(number, _to_shard(part))
        number += 1
    return number


def _to_shard(part: list[tuple[int, ImportedImage]]) -> FeatureShard:
    problems = [
        {"image": image.name, "problem": EMPTY_CAPTION if image.captions else NO_CAPTION, "detail": ""}
        for _, image in part
        for caption in image.captions or [""]
        if not caption
    ]
    kept = [(image_id, image) for image_id, image in part if any(image.captions)]
    pairs = [(image_id, image, place) for image_id, image in kept for place, c in enumerate(image.captions) if c]
    with_text = part[0][1].text_embeds is not None
    return FeatureShard(
        image_ids=np.array([image_id for image_id, _ in kept], dtype=np.int64),
        image_names=[image.name for _, image in kept],
        image_embeds=_stack([image.image_embeds for _, image in kept], part),
        texts=[image.captions[place] for _, image, place in pairs],
        caption_image_ids=np.array([image_id for image_id, _, _ in pairs], dtype=np.int64),
        text_embeds=_stack([image.text_embeds[place] for _, image, place in pairs], part) if with_text else None,  # type: ignore[index]
        problems=problems,
    )


def _stack(vectors: list[np.ndarray], images: list[tuple[int, ImportedImage]]) -> np.ndarray:
    widths = {len(vector) for vector in vectors}
    if len(widths) > 1:
        first, last = images[0][1].name, images[-1][1].name
        raise InputError(f"features of images {first!r} to {last!r} differ in width: {sorted(widths)}")
    return np.stack(vectors) if vectors else np.empty((0, len(images[0][1].image_embeds)), dtype=np.float16)


def _to_half(vectors: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError("features that are not finite in float16")
    return half


def _stream_members(path: pathlib.Path) -> Iterator[tuple[str, dict]]:
    """Keys and values of the single JSON object in a file, of which a few megabytes are in memory at a time."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open(encoding="utf-8-sig") as file:
        try:
            yield from _members(path, file)
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not text in UTF-8: {error}") from error
        except RecursionError:
            raise InputError(f"{path} holds lists or objects too deep in one another") from None


def _members(path: pathlib.Path, file: TextIO) -> Iterator[tuple[str, dict]]:
    decoder = json.JSONDecoder()
    text, position = file.read(CHUNK).lstrip(), 1
    if not text.startswith("{"):
        raise InputError(f"{path} begins with {text[:20]!r}, expected a JSON object")
    while True:
        try:
            start = SEPARATORS.match(text, position).end()  # type: ignore[union-attr]
            if text[start] == "}":
                break
            key, end = decoder.raw_decode(text, start)
            value, end = decoder.raw_decode(text, SEPARATORS.match(text, end).end())  # type: ignore[union-attr]
        except (json.JSONDecodeError, IndexError) as error:  # the entry is longer than the buffer
            rest = text[position:]
            more = file.read(max(CHUNK, len(rest)))
            if not more or len(rest) > LARGEST_ENTRY:
                what = "is cut short" if not more else "is not JSON"
                raise InputError(f"{path} {what} after {rest[:60]!r}: fetch it again") from error
            text, position = rest + more, 0
            continue
        except ValueError as error:  # a number of thousands of digits
            raise InputError(f"{path} cannot be read after {text[position : position + 60]!r}: {error}") from error
        yield key, value
        position = end
    if rest := (text[start + 1 :] + file.read(CHUNK)).strip():
        raise InputError(f"{path} goes on after its end with {rest[:60]!r}: it must be one object")
