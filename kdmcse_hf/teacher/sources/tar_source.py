"""Tar files in webdataset's layout, read as streams: the image and captions of a sample share a key."""

import pathlib
import re
import tarfile
from collections.abc import Iterator
from itertools import groupby

import fsspec

from ...errors import InputError
from ...files import parse_json
from .captioned_image import CaptionedImage

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
MOST_TARS = 1_000_000  # of a pattern: more is a slip of the keyboard, and would fill the memory with names
IMAGES_PER_TAR = 1_000_000  # the numbers of a tar file's images begin at a multiple of this


class TarSource:
    """Tar files in webdataset's layout: an image `KEY.jpg`, its caption in `KEY.txt` or `KEY.json`. Each is one part.

    Args:
        files: Paths, or URLs that fsspec can open.
        caption_column: Key of the caption in KEY.json. None takes KEY.txt if it exists, else "caption" in KEY.json.
    """

    def __init__(self, files: list[str], caption_column: str | None) -> None:
        self.files = files
        self.caption_column = caption_column
        self.num_parts = len(files)

    def part(self, number: int) -> Iterator[CaptionedImage]:
        """The images of one tar file, in its order; the file is read once from start to end.

        Raises:
            ValueError: The tar file is damaged.
        """
        try:
            with fsspec.open(self.files[number], "rb") as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
                samples = groupby((member for member in tar if member.isfile()), key=lambda member: _split(member)[0])
                for position, (key, members) in enumerate(samples):
                    fields = {_split(member)[1]: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]
                    image = next((fields[suffix] for suffix in IMAGE_SUFFIXES if suffix in fields), None)
                    image_id = number * IMAGES_PER_TAR + position
                    yield CaptionedImage(image_id, f"{self.files[number]}:{key}", image, self._captions(fields))
        except (tarfile.TarError, EOFError) as error:
            raise InputError(f"{self.files[number]} is damaged ({error}): fetch it again") from error

    def part_size(self, number: int) -> None:
        """None: the number of images is not known before the tar file is read."""

    def describe(self) -> dict:
        """Names and sizes of the tar files."""
        sizes = []
        for file in self.files:
            filesystem, path = fsspec.core.url_to_fs(file)
            sizes.append([pathlib.PurePosixPath(path).name, filesystem.size(path)])
        return {"files": sizes}

    def _captions(self, fields: dict[str, bytes]) -> list[str]:
        if self.caption_column is None and "txt" in fields:
            return [fields["txt"].decode("utf-8", errors="replace")]
        try:
            found = parse_json(fields["json"].decode()).get(self.caption_column or "caption")
        except (
            KeyError,
            ValueError,
            AttributeError,
        ):  # .json is missing, damaged or not an object: the image has no caption
            return []
        return found if isinstance(found, list) else [found]


def tar_files(dataset: str) -> list[str]:
    """The tar files of a dataset; none if it is of another format.

    Args:
        dataset: A tar file, a directory of them, a pattern with * or {00000..00099}, or a URL of one of these.

    Raises:
        FileNotFoundError: The pattern matches nothing.
        ValueError: A range of numbers that is empty or larger than `MOST_TARS`.
    """
    if ".tar" not in pathlib.PurePath(dataset).name:
        return sorted(str(file) for file in pathlib.Path(dataset).glob("*.tar"))
    if braces := re.search(r"\{(\d+)\.\.(\d+)\}", dataset):
        first, last = braces.groups()
        if max(len(first), len(last)) > 9 or not 0 <= int(last) - int(first) < MOST_TARS:
            raise InputError(
                f"dataset {dataset}: {braces.group()} stands for no file, or for more than {MOST_TARS:,}: give the "
                "first and the last number of those that are there"
            )
        names = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
        return [dataset[: braces.start()] + name + dataset[braces.end() :] for name in names]
    filesystem, path = fsspec.core.url_to_fs(dataset)
    found = sorted(filesystem.unstrip_protocol(file) if "://" in dataset else file for file in filesystem.glob(path))
    if not found:
        raise FileNotFoundError(f"dataset {dataset}: no such tar file")
    return found


def _split(member: tarfile.TarInfo) -> tuple[str, str]:
    """Key and suffix of a file in a tar: what stands before and after the first dot of its name."""
    folder, _, name = member.name.rpartition("/")
    key, _, suffix = name.partition(".")
    return f"{folder}/{key}" if folder else key, suffix.lower()
