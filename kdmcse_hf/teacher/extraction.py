"""From a caption source to feature shards: images decoded ahead in threads, the teacher always busy."""

import collections
import random
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from typing import Protocol, TypeVar

import numpy as np
import torch

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
    """Images in numbered parts; a part becomes a shard and has the same content in every run."""

    num_parts: int

    def part(self, number: int) -> Iterator[CaptionedImage]:
        """The images of a part, by ascending `image_id`."""
        ...

    def part_size(self, number: int) -> int | None:
        """Number of images in a part, None if not known in advance."""
        ...

    def describe(self) -> dict:
        """Identity of the source, JSON values: a resumed run must find the same."""
        ...


@dataclass(frozen=True)
class ExtractionSettings:
    """How to extract.

    Args:
        batch_size: Images, and captions, that the teacher sees at once.
        num_workers: Threads that decode images.
        one_caption: One random caption per image instead of all.
        seed: Of that choice, which depends on it and on the image's number alone.
        refuse_problems: Stop at the first image or caption that cannot be used, instead of listing and skipping it.
    """

    batch_size: int = 64
    num_workers: int = 4
    one_caption: bool = False
    seed: int = 0
    refuse_problems: bool = False


@dataclass
class _Batch:
    """Images of one part that go through the teacher together, with what had to be skipped among them."""

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
    """Extract the given parts of a source into the shards of the same numbers.

    The bytes of a shard depend on its part, the teacher and the settings, not on who extracts it or when.

    Args:
        on_images: Called with the part and the number of images after each batch.

    Raises:
        ValueError: A problem was met and `settings.refuse_problems` is on.
    """

    def prepare(batch: _Batch) -> _Batch:
        return _load_images(_choose_captions(batch, settings), teacher, settings)

    batches = (batch for part in parts for batch in _batches(source, part, settings.batch_size))
    loaded = _prefetch(prepare, batches, settings.num_workers)
    for part, group in groupby(loaded, key=lambda batch: batch.part):
        writer.write(part, _encode_part(group, teacher, settings.batch_size, on_images))


def _batches(source: ImageSource, part: int, batch_size: int) -> Iterator[_Batch]:
    yield _Batch(part, 0, [])  # a part without images becomes an empty shard all the same
    for images in _batched(source.part(part), batch_size):
        yield _Batch(part, len(images), images)


def _choose_captions(batch: _Batch, settings: ExtractionSettings) -> _Batch:
    """Clean the captions, leave out images without any, and draw one caption where one is wanted."""
    kept, problems = [], []
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
    kept, prepared, problems = [], [], list(batch.problems)
    for image in batch.images:
        try:
            # One by one, so that no more than one image a thread is in memory at its full size.
            prepared.append(teacher.prepare_images([open_image(image.content)]))
            kept.append(replace(image, content=None))  # a tar's images come as bytes: do not hold a part of them
        except FileNotFoundError as error:
            _report(problems, settings, image, MISSING_IMAGE, str(error))
        except ValueError as error:
            _report(problems, settings, image, BROKEN_IMAGE, str(error))
    inputs = {name: torch.cat([one[name] for one in prepared]) for name in prepared[0]} if prepared else None
    return replace(batch, images=kept, problems=problems, inputs=inputs)


def _report(problems: list, settings: ExtractionSettings, image: CaptionedImage, problem: str, detail: str) -> None:
    if settings.refuse_problems:
        reason = f"{problem} ({detail})" if detail else problem
        raise ValueError(f"{image.name}: {reason}; set problems to skip to leave it out")
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
    text_embeds, captions_cut = encode_captions(teacher, texts, batch_size)
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
    """Features of captions, (n, text width) float16, and how many captions were cut at the teacher's length.

    Captions of like length go together, so that little padding is encoded.
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
    """`map(function, items)` in order, in threads, a few items ahead of the reader.

    Threads, as Pillow and NumPy let go of the interpreter lock while they decode and resize.
    """
    pool = ThreadPoolExecutor(workers)
    pending = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
