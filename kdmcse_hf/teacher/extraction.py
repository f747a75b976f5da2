"""From an image source to feature shards. Threads decode the next images while the teacher encodes."""

import collections
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Protocol, TypeVar

import numpy as np
import torch

from ..errors import InputError
from ..features.writer import (
    BROKEN_IMAGE,
    EMPTY_CAPTION,
    MISSING_IMAGE,
    NO_CAPTION,
    FeatureShard,
    FeatureWriter,
)
from .sources.captioned_image import CaptionedImage, open_image
from .teacher import Teacher

Item = TypeVar("Item")
Result = TypeVar("Result")


class ImageSource(Protocol):
    """Images with captions, in numbered parts. Each part becomes a shard and has the same content in every run."""

    num_parts: int

    def part(self, number: int) -> Iterator[CaptionedImage]:
        """The images of a part, by ascending `image_id`."""
        ...

    def part_size(self, number: int) -> int | None:
        """Number of images in a part, or None if it is not known in advance."""
        ...

    def describe(self) -> dict:
        """Identity of the source as JSON values; a run can only be continued with the same."""
        ...


@dataclass(frozen=True)
class ExtractionSettings:
    """How to extract.

    Args:
        batch_size: Number of images, and of captions, that the teacher encodes at once.
        num_workers: Number of threads that decode images.
        one_caption: Take one random caption per image instead of all.
        seed: Seed of that choice. The choice depends on the seed and the image's number only.
        refuse_problems: Stop at the first image or caption that cannot be used, instead of skipping and listing it.
    """

    batch_size: int = 64
    num_workers: int = 4
    one_caption: bool = False
    seed: int = 0
    refuse_problems: bool = False


@dataclass
class _Batch:
    """Images of one part that are encoded together.

    Args:
        part: Number of the part.
        size: Number of images that the source gave, including skipped ones.
        images: Images that are not skipped.
        problems: What was skipped and why.
        inputs: The teacher's inputs for `images`; None before they are decoded, or if there are none.
    """

    part: int
    size: int
    images: list[CaptionedImage]
    problems: list[dict[str, str]] = field(default_factory=list)
    inputs: dict[str, torch.Tensor] | None = None


def extract(
    source: ImageSource,
    teacher: Teacher,
    writer: FeatureWriter,
    settings: ExtractionSettings,
    parts: Iterable[int],
    on_images: Callable[[int, int], None],
) -> None:
    """Extract some parts of a source into the shards with the same numbers.

    The bytes of a shard depend on its part, the teacher and the settings only, not on the process that extracts it.

    Args:
        source: Images with captions.
        teacher: Encodes them.
        writer: Of the feature directory.
        settings: How to extract.
        parts: Numbers of the parts to extract.
        on_images: Called after each batch with the part's number and the number of images in the batch.

    Raises:
        ValueError: An image or caption cannot be used and `settings.refuse_problems` is on.
    """

    def prepare(batch: _Batch) -> _Batch:
        return _load_images(_choose_captions(batch, settings), teacher, settings)

    batches = (batch for part in parts for batch in _batches(source, part, settings.batch_size))
    loaded = _prefetch(prepare, batches, settings.num_workers)
    for part, group in groupby(loaded, key=lambda batch: batch.part):
        writer.write(part, _encode_part(group, teacher, settings.batch_size, on_images))


def _batches(source: ImageSource, part: int, batch_size: int) -> Iterator[_Batch]:
    yield _Batch(part, 0, [])  # so that a part without images becomes an empty shard
    for images in _batched(source.part(part), batch_size):
        yield _Batch(part, len(images), images)


def _choose_captions(batch: _Batch, settings: ExtractionSettings) -> _Batch:
    """Clean the captions, skip images without captions, and draw one caption if the settings ask for it."""
    kept, problems = [], []  # type: ignore[var-annotated]
    for image in batch.images:
        captions = [" ".join(caption.split()) for caption in image.captions if isinstance(caption, str)]
        used = [caption for caption in captions if caption]
        for _ in range(len(image.captions) - len(used)):
            _report(problems, settings, image, EMPTY_CAPTION, "")
        if not used:
            _report(problems, settings, image, NO_CAPTION, "")
        elif settings.one_caption:
            kept.append(replace(image, captions=[random.Random(f"{settings.seed}:{image.image_id}").choice(used)]))
        else:
            kept.append(replace(image, captions=used))
    return replace(batch, images=kept, problems=problems)


def _load_images(batch: _Batch, teacher: Teacher, settings: ExtractionSettings) -> _Batch:
    """Decode the images and prepare the teacher's inputs."""
    kept, prepared, problems = [], [], list(batch.problems)
    for image in batch.images:
        try:
            # One by one, so that each thread holds no more than one image of full size in memory.
            prepared.append(teacher.prepare_images([open_image(image.content)]))
            kept.append(replace(image, content=None))  # a tar file's images are bytes, which would fill the memory
        except FileNotFoundError as error:
            _report(problems, settings, image, MISSING_IMAGE, str(error))
        except ValueError as error:
            _report(problems, settings, image, BROKEN_IMAGE, str(error))
    inputs = {name: torch.cat([one[name] for one in prepared]) for name in prepared[0]} if prepared else None
    return replace(batch, images=kept, problems=problems, inputs=inputs)


def _report(problems: list, settings: ExtractionSettings, image: CaptionedImage, problem: str, detail: str) -> None:
    if settings.refuse_problems:
        reason = f"{problem} ({detail})" if detail else problem
        raise InputError(f"{image.name}: {reason}; set problems to skip to leave it out")
    problems.append({"image": image.name, "problem": problem, "detail": detail})


def _encode_part(
    batches: Iterable[_Batch], teacher: Teacher, batch_size: int, on_images: Callable[[int, int], None]
) -> FeatureShard:
    images, features, problems = [], [], []
    for batch in batches:
        if batch.inputs is not None:
            features.append(teacher.encode_images(batch.inputs))
        images += batch.images
        problems += batch.problems
        on_images(batch.part, batch.size)
    texts = [caption for image in images for caption in image.captions]
    text_embeds, captions_cut = encode_captions(teacher, texts, batch_size) if teacher.text_dim else (None, 0)
    return FeatureShard(
        image_ids=np.array([image.image_id for image in images], dtype=np.int64),
        image_names=[image.name for image in images],
        image_embeds=np.concatenate([np.empty((0, teacher.image_dim), dtype=np.float16), *features]),
        texts=texts,
        caption_image_ids=np.array([image.image_id for image in images for _ in image.captions], dtype=np.int64),
        text_embeds=text_embeds,
        problems=problems,
        captions_cut=captions_cut,
    )


def encode_captions(teacher: Teacher, texts: list[str], batch_size: int) -> tuple[np.ndarray, int]:
    """Features of captions.

    Captions of similar length are encoded together, so that there is little padding.

    Returns:
        (n, text width) float16, and the number of captions that were truncated at the teacher's length.
    """
    features = np.empty((len(texts), teacher.text_dim), dtype=np.float16)
    if not texts:
        return features, 0
    lengths = np.array(teacher.token_counts(texts))
    for places in _batched(np.argsort(-lengths, kind="stable").tolist(), batch_size):
        features[places] = teacher.encode_texts(teacher.prepare_texts([texts[place] for place in places]))
    return features, int((lengths > teacher.max_length).sum())


def _batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _prefetch(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """`map(function, items)` in order, computed in threads a few items ahead of the reader.

    Threads suffice, because Pillow and NumPy release the interpreter lock while they decode and resize.
    """
    pool = ThreadPoolExecutor(workers)
    pending = collections.deque()  # type: ignore[var-annotated]
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
