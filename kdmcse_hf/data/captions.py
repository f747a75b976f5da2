"""Captions with their teacher features: checked once, read in batches."""

from collections.abc import Sequence

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm.auto import tqdm

from ..features.caption_features import CaptionFeatures
from ..features.store import FeatureStore
from .text import check_strings, load_rows, without_blank_rows

FEATURES = ("image_embeds", "text_embeds")
_SCAN_ROWS = 10_000  # rows of features in memory at once while they are checked


def load_captions(source: str, columns: Sequence[str] = FEATURES) -> CaptionFeatures:
    """Captions with teacher features.

    Args:
        source: a directory that recipes/extract_features.py wrote; or a Hub id, local directory (as `save_to_disk`
            writes it, or of files) or parquet file with columns `text` (string), `image_embeds`, `text_embeds` (float
            vectors of any width), and optionally `image_id`.
        columns: of teacher features that are needed (an objective's `teacher_columns`); `text` always is.

    Raises:
        FileNotFoundError, ValueError: no such file, a column missing, nothing in it, features whose width changes or
            that are not finite; the message names the row.
    """
    if FeatureStore.is_store(source):
        return FeatureStore.open(source)
    dataset = load_rows(source, "multimodal_dataset")
    needed = ("text", *columns)
    if missing := [name for name in needed if name not in dataset.column_names]:
        raise ValueError(
            f"multimodal_dataset {source} has no column {', '.join(missing)}, which the objective needs; it "
            f"has {', '.join(dataset.column_names)}. recipes/extract_features.py writes such a dataset from images"
        )
    check_strings(dataset, "text", source)
    read = [name for name in (*needed, "image_id") if name in dataset.column_names]
    return Captions(without_blank_rows(dataset.select_columns(read), source), source)


class Captions:
    """A caption dataset checked and ready to be read in batches, memory-mapped as `datasets` left it.

    Args:
        dataset: columns `text`, and as far as needed `image_embeds`, `text_embeds`, `image_id`.
        source: its name in messages.

    Raises:
        ValueError: features whose width changes or that are not finite, naming the row.
    """

    def __init__(self, dataset: datasets.Dataset, source: str):
        self.source = source
        widths = _checked_widths(dataset, source)
        self.image_dim, self.text_dim = widths.get("image_embeds"), widths.get("text_embeds")
        self._features = list(widths)
        # Without `image_id` each caption is of an image of its own.
        self._image_ids = _image_numbers(dataset) if "image_id" in dataset.column_names else np.arange(len(dataset))
        self._dataset = dataset.select_columns(["text", *widths]).with_format("arrow")

    @property
    def num_images(self) -> int:
        """Different images; counted when asked, since training never does."""
        return len(np.unique(self._image_ids))

    def __len__(self) -> int:
        return len(self._dataset)

    def rows(self, indices: Sequence[int]) -> dict[str, list[str] | np.ndarray]:
        """Columns of some rows: `text` (list), features (n, width) float32, `image_ids` (n,) int64."""
        table = self._dataset[list(indices)]
        columns = {"text": table["text"].to_pylist()}
        columns |= {name: _matrix(table[name]).astype(np.float32) for name in self._features}
        return columns | {"image_ids": self._image_ids[indices]}


def _checked_widths(dataset: datasets.Dataset, source: str) -> dict[str, int]:
    """Width of each column of features, all rows of which are looked at once."""
    names = [name for name in FEATURES if name in dataset.column_names]
    widths: dict[str, int] = {}
    if not names:
        return widths
    blocks = dataset.select_columns(names).with_format("arrow").iter(batch_size=_SCAN_ROWS)
    bar = tqdm(total=len(dataset), desc="checking features", unit=" rows", disable=len(dataset) < 10 * _SCAN_ROWS)
    for block, table in enumerate(blocks):
        for name in names:
            _check_block(table[name], widths, name, source, block * _SCAN_ROWS)
        bar.update(len(table))
    return widths


def _check_block(column: pa.ChunkedArray, widths: dict[str, int], name: str, source: str, start: int) -> None:
    if not _is_float_list(column.type):
        raise ValueError(f"column {name!r} of {source} holds {column.type}, vectors of floats are needed")
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    width = widths.setdefault(name, int(lengths[0]))
    if (other := lengths != width).any() or width == 0:
        row = int(np.argmax(other))
        raise ValueError(
            f"{name} of {source}: row {start + row} has {lengths[row]} values, the first row {width}. All rows need "
            "features of one teacher: extract them again"
        )
    finite = np.isfinite(_matrix(column)).all(axis=1)
    if not finite.all():
        row = start + int(np.argmin(finite))
        raise ValueError(
            f"{name} of {source}: row {row} holds NaN or infinite values. Extract it again or drop the row"
        )


def _is_float_list(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and pa.types.is_floating(kind.value_type)


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A column of equally long lists -> (n, width), without Python objects."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return values.reshape(len(column), -1)


def _image_numbers(dataset: datasets.Dataset) -> np.ndarray:
    """`image_id` of any type -> int64, equal where the ids are equal; rows without one are of an image each."""
    column = dataset.select_columns("image_id").with_format("arrow")[:]["image_id"]
    encoded = pa.chunked_array(column.chunks, column.type).combine_chunks().dictionary_encode()
    alone = -1 - np.arange(len(encoded))
    return np.where(encoded.is_valid(), encoded.indices.fill_null(0), alone)
