"""Reading a feature directory through memory maps, an image's features joined to its captions at read time."""

import json
import os
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import datasets
import numpy as np
import pyarrow as pa

from ..files import sha256
from .writer import FORMAT


@dataclass(frozen=True)
class _Shard:
    """Views into the memory maps of one shard; nothing here is a copy."""

    texts: pa.StringArray
    image_ids: np.ndarray
    caption_image_ids: np.ndarray
    image_embeds: np.ndarray
    text_embeds: np.ndarray


class FeatureStore:
    """The captions of a feature directory with their features; fulfils `CaptionFeatures`.

    Opening reads the manifest and the files' sizes, no data. Shards are mapped when first read.

    Attributes:
        path: The directory.
        manifest: What `manifest.json` says: teacher, source, settings, counts, checksums.
        image_dim: Width of the image features.
        text_dim: Width of the caption features, 0 where there are none.
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
            FileNotFoundError: This is not a feature directory, or a file of it is missing.
            ValueError: It is unfinished, of another format, or a file is shorter or longer than it was written.
        """
        path = pathlib.Path(path)
        if not cls.is_store(path):
            raise FileNotFoundError(f"{path} is not a feature directory: recipes/extract_features.py makes one")
        if not (path / "manifest.json").is_file():
            raise ValueError(f"{path} is unfinished: run the command that began it again, it goes on where it stopped")
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            raise ValueError(f"{path} has format {manifest['format']}, this version reads {FORMAT}: extract it again")
        for shard in manifest["shards"]:
            for file in (shard["captions"], shard["images"]):
                _check_size(path / file["file"], file["bytes"])
        return cls(path, manifest)

    @staticmethod
    def is_store(path: str | os.PathLike) -> bool:
        """Whether this is a feature directory, finished or not."""
        folder = pathlib.Path(path)
        return (folder / "settings.json").is_file() and (folder / "shards").is_dir()

    def __len__(self) -> int:
        """Number of captions."""
        return int(self._ends[-1])

    def __reduce__(self):
        return FeatureStore, (self.path, self.manifest)

    def rows(self, indices: Sequence[int]) -> dict[str, list[str] | np.ndarray]:
        """Captions by number, in the order asked for.

        Args:
            indices: (n,) numbers from 0 to len(self) - 1.

        Returns:
            "text", n strings; "image_embeds", (n, image_dim) and "text_embeds", (n, text_dim), float32;
            "image_ids", (n,) int64.

        Raises:
            IndexError: A number is out of range.
        """
        indices = np.asarray(indices, dtype=np.int64).reshape(-1)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(
                f"rows {indices.min()} to {indices.max()} asked for, {self.path} has 0 to {len(self) - 1}"
            )
        texts: list[str] = [""] * len(indices)
        image_embeds = np.empty((len(indices), self.image_dim), dtype=np.float32)
        text_embeds = np.empty((len(indices), self.text_dim), dtype=np.float32)
        image_ids = np.empty(len(indices), dtype=np.int64)
        numbers = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(numbers):
            shard, places = self._shard(number), np.flatnonzero(numbers == number)
            local = indices[places] - (self._ends[number] - len(shard.texts))
            image_ids[places] = shard.caption_image_ids[local]
            image_embeds[places] = shard.image_embeds[np.searchsorted(shard.image_ids, image_ids[places])]
            text_embeds[places] = shard.text_embeds[local]
            for place, row in zip(places.tolist(), local.tolist(), strict=True):
                texts[place] = shard.texts[row].as_py()
        return {"text": texts, "image_embeds": image_embeds, "text_embeds": text_embeds, "image_ids": image_ids}

    def as_dataset(self) -> datasets.Dataset:
        """The captions as a `datasets.Dataset` that shows `text, image_embeds, text_embeds, image_id` when read."""

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
        """Compare every file with its checksum; reads the whole directory once.

        Raises:
            ValueError: A file differs from what was written.
        """
        for shard in self.manifest["shards"]:
            for file in (shard["captions"], shard["images"]):
                if sha256(self.path / file["file"]) != file["sha256"]:
                    raise ValueError(
                        f"{self.path / file['file']} is damaged: run the command that made {self.path} again, "
                        "it redoes damaged shards"
                    )

    def _shard(self, number: int) -> _Shard:
        if self._shards[number] is None:
            files = self.manifest["shards"][number]
            captions = _map_batch(self.path / files["captions"]["file"])
            images = _map_batch(self.path / files["images"]["file"])
            text_embeds = np.empty((captions.num_rows, 0), dtype=np.float16)
            self._shards[number] = _Shard(
                texts=captions.column("text"),
                image_ids=images.column("image_id").to_numpy(),
                caption_image_ids=captions.column("image_id").to_numpy(),
                image_embeds=_matrix(images.column("image_embeds")),
                text_embeds=_matrix(captions.column("text_embeds")) if self.text_dim else text_embeds,
            )
        return self._shards[number]


def _check_size(path: pathlib.Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: run the command that made the directory again") from None
    if found != size:
        raise ValueError(f"{path} has {found} bytes, {size} were written: run the command that made it again")


def _map_batch(path: pathlib.Path) -> pa.RecordBatch:
    # Closing gives the file descriptor back, the mapping lives on in the arrays: thousands of shards may be open.
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_stream(file).read_next_batch()


def _matrix(vectors: pa.FixedSizeListArray) -> np.ndarray:
    return vectors.flatten().to_numpy(zero_copy_only=True).reshape(len(vectors), vectors.type.list_size)
