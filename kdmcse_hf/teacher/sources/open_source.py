"""`open_source`: opens images with captions in any of the formats in which such data are published."""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator

import datasets

from ...annotation_files import (
    Entry,
    find_caption_column,
    flatten_captions,
    read_annotations,
    read_json,
    read_metadata,
    refuse_split,
)
from ...dataset_files import file_builder, open_dataset
from ...errors import InputError
from .captioned_image import CaptionedImage
from .tar_source import TarSource, tar_files

FORMS = (
    "a directory with metadata.jsonl or metadata.csv; with image_dir, a Karpathy split file, COCO captions, "
    "a Flickr .token file or a Flickr30k Entities directory (with Sentences/); .tar files or a folder of them; "
    "a Hub id, a parquet file or a datasets directory with an image column and a caption column"
)


class ListSource:
    """Images in files, with names and captions in memory.

    Args:
        entries: (name, file, captions) of each image.
        images_per_part: Number of images in each part.
    """

    def __init__(self, entries: list[Entry], images_per_part: int) -> None:
        self.entries = entries
        self.images_per_part = images_per_part
        self.num_images = len(entries)
        self.num_parts = -(-len(entries) // images_per_part)

    def part(self, number: int) -> Iterator[CaptionedImage]:
        """The images of a part, by ascending `image_id`."""
        first = number * self.images_per_part
        for image_id, entry in enumerate(self.entries[first : first + self.images_per_part], start=first):
            yield CaptionedImage(image_id, *entry)

    def part_size(self, number: int) -> int:
        """Number of images in a part."""
        return min(self.images_per_part, self.num_images - number * self.images_per_part)

    def describe(self) -> dict:
        """Number of images, and SHA-256 of their names and captions."""
        digest = hashlib.sha256()
        for name, _, captions in self.entries:
            digest.update(json.dumps([name, captions]).encode())
        return {"images": self.num_images, "images_per_shard": self.images_per_part, "sha256": digest.hexdigest()}


class DatasetSource:
    """A `datasets` table with an image column, whose rows are read part by part.

    Args:
        table: The dataset.
        image_column: Name of the image column.
        caption_column: Name of the column of captions, strings or lists of strings.
        id_column: Name of a column whose equal values mark captions of the same image, even in rows far apart; a row
            without a value is an image of its own. None if every row is.
        images_per_part: Number of images in each part.
    """

    def __init__(
        self,
        table: datasets.Dataset,
        image_column: str,
        caption_column: str,
        id_column: str | None,
        images_per_part: int,
    ) -> None:
        self.images = table.select_columns([image_column]).cast_column(image_column, datasets.Image(decode=False))
        self.captions = table.select_columns([caption_column])
        self.image_column = image_column
        self.caption_column = caption_column
        self.groups = _group_rows(table[id_column]) if id_column else None
        self.images_per_part = images_per_part
        self.num_images = len(self.groups) if id_column else len(table)  # type: ignore[arg-type]
        self.num_parts = -(-self.num_images // images_per_part)

    def part(self, number: int) -> Iterator[CaptionedImage]:
        """The images of a part, by ascending `image_id`."""
        first = number * self.images_per_part
        for image_id in range(first, first + self.part_size(number)):
            key, rows = self.groups[image_id] if self.groups else (image_id, [image_id])
            image = self.images[rows[0]][self.image_column] or {"path": None, "bytes": None}
            path = pathlib.Path(image["path"]) if image["path"] else None
            name = path.name if path else str(key)
            yield CaptionedImage(
                image_id, name, image["bytes"] or path, flatten_captions(self.captions[rows][self.caption_column])
            )

    def part_size(self, number: int) -> int:
        """Number of images in a part."""
        return min(self.images_per_part, self.num_images - number * self.images_per_part)

    def describe(self) -> dict:
        """Number of images and of rows, and SHA-256 of the captions."""
        digest = hashlib.sha256()
        for batch in self.captions.iter(batch_size=1000):
            digest.update(json.dumps(batch[self.caption_column]).encode())
        return {
            "images": self.num_images,
            "rows": len(self.captions),
            "images_per_shard": self.images_per_part,
            "sha256": digest.hexdigest(),
        }


def open_source(
    dataset: str,
    images_per_part: int,
    image_dir: str | os.PathLike | None = None,
    split: str | None = None,
    image_column: str = "image",
    caption_column: str | None = None,
    id_column: str | None = None,
) -> ListSource | DatasetSource | TarSource:
    """Open an image source in the format that is found at `dataset`.

    Args:
        dataset: Path, pattern of tar files, or Hub id; see `FORMS`.
        images_per_part: Number of images in each part, and so in each shard. Of tar files, each is one part.
        image_dir: Folder of the images, for formats that only name them.
        split: Split to take, "train+restval" for two. None takes everything; of a Hub id or `DatasetDict`, "train". A
            source without splits has but "train".
        image_column: Name of the image column of a `datasets` source.
        caption_column: Name of the caption column of a `datasets` source or metadata file, or the key in a tar file's
            .json; None to find it by its usual names.
        id_column: Name of a column of a `datasets` source whose equal values mark captions of the same image.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: The source has no known format, no such split, lacks a column, or holds no images.
    """
    path = pathlib.Path(dataset)
    metadata = next((file for file in (path / "metadata.jsonl", path / "metadata.csv") if file.is_file()), None)
    if tars := tar_files(dataset):
        refuse_split(split, dataset)
        return TarSource(tars, caption_column)
    if metadata:
        refuse_split(split, metadata)
        entries = read_metadata(metadata, caption_column)
    elif (path / "Sentences").is_dir() or ".token" in path.suffixes or path.suffix == ".json":
        if not path.exists():
            raise FileNotFoundError(f"dataset {dataset}: no such file")
        read = read_json if path.suffix == ".json" else read_annotations
        entries = read(path, required_folder(image_dir, dataset), split) or []
    else:
        table = _load_table(dataset, split)
        caption_column = find_caption_column(dataset, table.column_names, caption_column)
        for column in filter(None, (image_column, id_column)):
            if column not in table.column_names:
                raise InputError(f"dataset {dataset} has no column {column!r} among {', '.join(table.column_names)}")
        if id_column and not isinstance(table.features[id_column], datasets.Value):
            raise InputError(
                f"column {id_column!r} of {dataset} holds {table.features[id_column]}, numbers or strings are needed"
            )
        return DatasetSource(table, image_column, caption_column, id_column, images_per_part)
    if not entries:
        raise InputError(f"dataset {dataset}{f' has no images of split {split!r}' if split else ' lists no images'}")
    return ListSource(entries, images_per_part)


def required_folder(image_dir: str | os.PathLike | None, dataset: object) -> pathlib.Path:
    """The folder of images, for a dataset that only names them.

    Raises:
        ValueError: `image_dir` is None.
        FileNotFoundError: The folder does not exist.
    """
    if image_dir is None:
        raise InputError(f"dataset {dataset} only names its images: give their folder as image_dir")
    if not pathlib.Path(image_dir).is_dir():
        raise FileNotFoundError(f"image_dir {image_dir}: no such folder")
    return pathlib.Path(image_dir)


def _load_table(dataset: str, split: str | None) -> datasets.Dataset:
    try:
        if file_builder(dataset) not in (None, "parquet"):
            suffix = pathlib.Path(dataset).suffix
            raise InputError(f"of files with an image column only .parquet is read, not {suffix}")
        if file_builder(dataset) or (pathlib.Path(dataset) / "state.json").is_file():
            refuse_split(split, dataset)
        return open_dataset(dataset, split or "train")
    except datasets.exceptions.DatasetGenerationError as error:  # the cause of this error says what is wrong
        raise InputError(f"dataset {dataset} cannot be read ({error.__cause__ or error})") from error
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"dataset {dataset} cannot be read ({error}); it can be {FORMS}") from error


def _group_rows(keys: Iterable) -> list[tuple[object, list[int]]]:
    rows: dict = {}
    for row, key in enumerate(keys):
        # A missing id, of which NaN is one that pandas writes, is not that of another row.
        is_missing = key is None or key != key
        rows.setdefault((row,) if is_missing else key, []).append(row)
    return [(f"row {key[0]}" if isinstance(key, tuple) else key, found) for key, found in rows.items()]
