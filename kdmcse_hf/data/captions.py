"""Captions with their teacher's features: checked when they are loaded, read in batches."""

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm.auto import tqdm

from ..errors import InputError
from ..features.caption_features import CaptionFeatures
from ..features.store import FeatureStore
from .annotations import load_annotations
from .text import check_strings, load_rows, without_blank_rows

FEATURES = ("image_embeds", "text_embeds")
_SCAN_ROWS = 10_000  # rows in memory at once while features are checked


def load_captions(source: str, columns: Sequence[str] = FEATURES) -> CaptionFeatures:
    """Load captions with teacher features.

    Args:
        source: a feature directory that recipes/extract_features.py wrote; or a Hub id, a local directory (of files,
            or one that `save_to_disk` wrote) or a parquet file with columns `text` (string), `image_embeds`,
            `text_embeds` (float vectors of any width) and optionally `image_id`. Where no features are needed also a
            published annotation file: Flickr's .token, a Karpathy split file and a Flickr30k Entities directory (their
            training split), COCO's captions_*.json; or a .txt of one caption a line, each of an image of its own.
        columns: the columns of features that are needed, an objective's `teacher_columns`; `text` always is.

    Raises:
        FileNotFoundError, ValueError: the source does not exist or is empty, a column is missing, or features differ
            in width or are not finite; the message names the row.
    """
    if FeatureStore.is_store(source):
        return FeatureStore.open(source)
    if (annotations := load_annotations(source)) is not None:
        if columns:
            raise InputError(
                f"multimodal_dataset {source} names images and their captions; the objective needs the teacher's "
                f"features of them ({', '.join(columns)}): make them by `kdmcse extract-features`"
            )
        return Captions(annotations, source)
    dataset = load_rows(source, "multimodal_dataset")
    needed = ("text", *columns)
    if missing := [name for name in needed if name not in dataset.column_names]:
        raise InputError(
            f"multimodal_dataset {source} has no column {', '.join(missing)}, which the objective needs; it "
            f"has {', '.join(dataset.column_names)}. `kdmcse extract-features` writes such a dataset from images"
        )
    check_strings(dataset, "text", source)
    read = [name for name in (*needed, "image_id") if name in dataset.column_names]
    rows, numbers = without_blank_rows(dataset.select_columns(read), source)
    return Captions(rows, source, numbers)


class Captions:
    """A caption dataset with features, checked, as `CaptionFeatures`. Rows stay in the memory map of `datasets`.

    Args:
        dataset: columns `text` and, as far as needed, `image_embeds`, `text_embeds` and `image_id`.
        source: name of the dataset in messages.
        numbers: (len(self),) number of each row in the source, for messages, where rows were left out.

    Attributes:
        image_ids: (len(self),) int64, the image of each caption.

    Raises:
        ValueError: features differ in width or are not finite; the message names the row.
    """

    def __init__(self, dataset: datasets.Dataset, source: str, numbers: np.ndarray | None = None):
        self.source = source
        self._numbers = np.arange(len(dataset)) if numbers is None else numbers
        widths = _checked_widths(dataset, source, self._numbers)
        self.image_dim, self.text_dim = widths.get("image_embeds"), widths.get("text_embeds")
        self._features = list(widths)
        # Without `image_id` every caption counts as one of a different image.
        has_images = "image_id" in dataset.column_names
        self.image_ids = _image_numbers(dataset, source) if has_images else np.arange(len(dataset))
        self._names = dataset.select_columns("image_id") if has_images else None
        self._dataset = dataset.select_columns(["text", *widths]).with_format("arrow")

    @property
    def num_images(self) -> int:
        """Number of different images. It is counted when it is asked for, since training never asks."""
        return len(np.unique(self.image_ids))

    def __len__(self) -> int:
        return len(self._dataset)

    def rows(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Some rows, as `CaptionFeatures.rows` gives them; features that the dataset lacks are left out."""
        table = self._dataset[list(indices)]
        columns = {"text": table["text"].to_pylist()}
        columns |= {name: _matrix(table[name]).astype(np.float32) for name in self._features}
        return columns | {"image_ids": self.image_ids[indices]}

    def texts(self) -> pa.ChunkedArray:
        """All captions, (len(self),) strings in the order of `rows`."""
        return self._dataset.select_columns("text")[:]["text"]

    def image_names(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """The `image_id` of some captions as text, or the number of the row where there is none."""
        indices = [int(index) for index in indices]
        names = [None] * len(indices) if self._names is None else self._names[indices]["image_id"]
        rows = self._numbers[indices].tolist()
        return [f"row {row}" if _is_missing(name) else str(name) for row, name in zip(rows, names, strict=True)]


def _is_missing(value: object) -> bool:
    """None, and NaN, which pandas writes in its place."""
    return value is None or value != value


def _checked_widths(dataset: datasets.Dataset, source: str, numbers: np.ndarray) -> dict[str, int]:
    """Check all features, and return the width of each column of them."""
    names = [name for name in FEATURES if name in dataset.column_names]
    widths: dict[str, int] = {}
    if not names:
        return widths
    blocks = dataset.select_columns(names).with_format("arrow").iter(batch_size=_SCAN_ROWS)
    bar = tqdm(total=len(dataset), desc="checking features", unit=" rows", disable=len(dataset) < 10 * _SCAN_ROWS)
    for block, table in enumerate(blocks):
        for name in names:
            start = block * _SCAN_ROWS
            _check_block(table[name], widths, name, source, numbers[start : start + len(table)])
        bar.update(len(table))
    return widths


def _check_block(column: pa.ChunkedArray, widths: dict[str, int], name: str, source: str, numbers: np.ndarray) -> None:
    if not _is_float_list(column.type):
        raise InputError(f"column {name!r} of {source} holds {column.type}, vectors of floats are needed")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    width = widths.setdefault(name, int(lengths[0]))
    if width == 0:
        raise InputError(
            f"{name} of {source}: row {numbers[0]} has no values. All rows need features: extract them again"
        )
    if (other := lengths != width).any():
        row = int(np.argmax(other))
        raise InputError(
            f"{name} of {source}: row {numbers[row]} has {lengths[row]} values, the first row {width}. All rows need "
            "features of one teacher: extract them again"
        )
    with np.errstate(over="ignore"):
        finite = np.isfinite(_matrix(column).astype(np.float32)).all(axis=1)  # as `rows` gives them
    if not finite.all():
        raise InputError(
            f"{name} of {source}: row {numbers[np.argmin(finite)]} holds NaN or infinite values, or values beyond "
            "float32. Extract it again or drop the row"
        )


def _is_float_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and pa.types.is_floating(kind.value_type)


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of n lists of equal length as an array (n, width), without making Python objects."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return values.reshape(len(column), -1)


def _image_numbers(dataset: datasets.Dataset, source: str) -> np.ndarray:
    """Numbers (n,) int64 in place of the values of `image_id`: numbers, strings, dates.

    Rows with equal values have equal numbers. Each row without a value, or with NaN, gets a number of its own.

    Raises:
        ValueError: the column holds lists or structs.
    """
    column = dataset.select_columns("image_id").with_format("arrow")[:]["image_id"]
    if pa.types.is_nested(column.type):
        raise InputError(f"column 'image_id' of {source} holds {column.type}, numbers or strings are needed")
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    encoded = pa.chunked_array(column.chunks, column.type).combine_chunks().dictionary_encode()
    alone = -1 - np.arange(len(encoded))
    return np.where(encoded.is_valid(), encoded.indices.fill_null(0), alone)
