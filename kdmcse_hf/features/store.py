"""Reading a feature directory through memory maps. Images and captions are joined when rows are read."""

import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import datasets
import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..files import Maybe, check_form, read_json
from .verification import manifest_checksum, map_table, matrix, verify
from .writer import FORMAT, TABLE


@dataclass(frozen=True)
class _Shard:
    """Arrays of one shard, all of them views into its memory maps, without a copy."""

    texts: pa.StringArray
    image_ids: np.ndarray
    image_names: pa.StringArray
    caption_image_ids: np.ndarray
    image_embeds: np.ndarray
    text_embeds: np.ndarray


class FeatureStore:
    """The captions of a feature directory with their features, as `CaptionFeatures`.

    The first opening reads the whole directory and compares its checksums, later ones its manifest and the sizes and
    times of its files. A shard is mapped into memory when a row of it is read for the first time.

    Attributes:
        path: The directory.
        manifest: Content of `manifest.json`: teacher, source, options, counts and checksums.
        image_dim: Width of the image features.
        text_dim: Width of the caption features; 0 if there are none.
        num_images: Number of images.
    """

    def __init__(self, path: pathlib.Path, manifest: dict) -> None:
        self.path = path
        self.manifest = manifest
        self.image_dim: int = manifest["image_dim"]
        self.text_dim: int = manifest["text_dim"]
        self.num_images: int = manifest["images"]
        self._ends = np.cumsum([shard["captions"]["rows"] for shard in manifest["shards"]])
        self._shards: list[_Shard | None] = [None] * len(manifest["shards"])

    @classmethod
    def open(cls, path: str | os.PathLike) -> "FeatureStore":
        """Open a finished feature directory.

        Raises:
            FileNotFoundError: This is not a feature directory, or one of its files is missing.
            ValueError: It is unfinished or of another format, or a file is not the one that was written.
        """
        path = pathlib.Path(path)
        if not cls.is_store(path):
            raise FileNotFoundError(f"{path} is not a feature directory: `kdmcse extract-features` makes one")
        if not (path / "manifest.json").is_file():
            raise InputError(f"{path} is unfinished: run the command that began it again, it goes on where it stopped")
        store = cls(path, _read_manifest(path))
        verify(path, store.manifest)
        return store

    @staticmethod
    def is_store(path: str | os.PathLike) -> bool:
        """Whether this is a feature directory, finished or not."""
        folder = pathlib.Path(path)
        return (folder / "settings.json").is_file() and (folder / "shards").is_dir()

    @cached_property
    def image_ids(self) -> np.ndarray:
        """(len(self),) int64, the image of each caption; reads no features."""
        return np.concatenate([self._shard(number).caption_image_ids for number in range(len(self._shards))])

    def __len__(self) -> int:
        """Number of captions."""
        return int(self._ends[-1])

    def __reduce__(self):
        return FeatureStore, (self.path, self.manifest)

    def rows(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Captions with their features by row number, in the order asked for.

        Args:
            indices: (n,) numbers from 0 to len(self) - 1.

        Returns:
            "text", n strings; "image_embeds", (n, image_dim) and "text_embeds", (n, text_dim), float32;
            "image_ids", (n,) int64.

        Raises:
            IndexError: A number is out of range.
        """
        wanted = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} asked for, {self.path} has 0 to {len(self) - 1}")
        texts: list[str] = [""] * len(wanted)
        image_embeds = np.empty((len(wanted), self.image_dim), dtype=np.float32)
        text_embeds = np.empty((len(wanted), self.text_dim), dtype=np.float32)
        image_ids = np.empty(len(wanted), dtype=np.int64)
        numbers = np.searchsorted(self._ends, wanted, side="right")
        for number in np.unique(numbers):
            shard, places = self._shard(number), np.flatnonzero(numbers == number)
            local = wanted[places] - (self._ends[number] - len(shard.texts))
            image_ids[places] = shard.caption_image_ids[local]
            image_embeds[places] = shard.image_embeds[np.searchsorted(shard.image_ids, image_ids[places])]
            text_embeds[places] = shard.text_embeds[local]
            for place, row in zip(places.tolist(), local.tolist(), strict=True):
                texts[place] = shard.texts[row].as_py()
        return {"text": texts, "image_embeds": image_embeds, "text_embeds": text_embeds, "image_ids": image_ids}

    def texts(self) -> pa.ChunkedArray:
        """All captions, (len(self),) strings in the order of `rows`, as views of the memory-mapped files."""
        return pa.chunked_array([self._shard(number).texts for number in range(len(self._shards))], pa.string())

    def image_names(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """File names or keys of the images of some captions, as the teacher's source had them.

        Args:
            indices: (n,) numbers of captions, as in `rows`.
        """
        names = []
        for index in indices:
            number = int(np.searchsorted(self._ends, index, side="right"))
            shard = self._shard(number)
            image_id = shard.caption_image_ids[index - (self._ends[number] - len(shard.texts))]
            names.append(shard.image_names[int(np.searchsorted(shard.image_ids, image_id))].as_py())
        return names

    def as_dataset(self) -> datasets.Dataset:
        """The captions as a `datasets.Dataset` with columns `text`, `image_embeds`, `text_embeds` and `image_id`.

        The features are joined when rows are read; nothing is copied before.
        """

        def join(rows: dict[str, list]) -> dict[str, list]:
            found = self.rows(rows["row"])
            return {
                "text": found["text"],
                "image_embeds": list(found["image_embeds"]),
                "text_embeds": list(found["text_embeds"]),
                "image_id": found["image_ids"].tolist(),
            }

        table = datasets.Dataset(pa.table({"row": np.arange(len(self))}))
        return table.with_transform(join)

    def verify(self) -> None:
        """Read the whole directory again, as the first opening does, and compare checksums and values.

        Raises:
            FileNotFoundError, ValueError: A file is missing, or not the one that was written.
        """
        verify(self.path, self.manifest, again=True)

    def _shard(self, number: int) -> _Shard:
        if self._shards[number] is None:
            files = self.manifest["shards"][number]
            captions = map_table(self.path / files["captions"]["file"])
            images = map_table(self.path / files["images"]["file"])
            text_embeds = np.empty((captions.num_rows, 0), dtype=np.float16)
            self._shards[number] = _Shard(
                texts=captions.column("text"),
                image_ids=images.column("image_id").to_numpy(),
                image_names=images.column("image"),
                caption_image_ids=captions.column("image_id").to_numpy(),
                image_embeds=matrix(images.column("image_embeds")),
                text_embeds=matrix(captions.column("text_embeds")) if self.text_dim else text_embeds,
            )
        return self._shards[number]  # type: ignore[return-value]


# The form of a manifest, see `check_form`.
_MANIFEST = {
    **{"teacher": {"name": str}, "source": dict, "options": dict, "problems": dict, "sha256": Maybe(str)},
    **dict.fromkeys(("format", "image_dim", "text_dim", "images", "captions", "captions_cut"), int),
    "shards": [{"captions": TABLE, "images": TABLE}],
}


def _read_manifest(directory: pathlib.Path) -> dict:
    """The manifest of a directory.

    Raises:
        ValueError: It is not what was written, or of another format.
    """
    path = directory / "manifest.json"
    again = f"run the command that made {directory} again, it writes it anew"
    try:
        manifest = read_json(path)
        if (found := manifest.get("format", FORMAT)) == FORMAT:
            check_form(manifest, _MANIFEST, path)
    except ValueError as error:
        raise InputError(f"{path} is damaged: {again}. {error}") from None
    if found != FORMAT:
        raise InputError(f"{directory} has format {found!r}, this version reads {FORMAT}: extract it again")
    if not _is_whole(manifest):
        raise InputError(f"{path} is damaged: {again}")
    return manifest


def _is_whole(manifest: dict) -> bool:
    """Whether a manifest is what was written; those written before they had a checksum must agree with themselves."""
    shards, checksum = manifest["shards"], manifest_checksum(manifest)
    return (
        manifest.keys() <= _MANIFEST.keys()
        and all(len(table["sha256"]) == 64 for shard in shards for table in shard.values())
        and all(manifest[kind] == sum(shard[kind]["rows"] for shard in shards) for kind in ("captions", "images"))
        and manifest.get("sha256", checksum) == checksum
    )
