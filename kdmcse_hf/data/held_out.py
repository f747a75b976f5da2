"""Images held out of training, whose captions judge a run that has no STS pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..errors import InputError
from ..features.caption_features import CaptionFeatures

SHARE = 0.05
MOST_IMAGES = 1000  # more would make each check slower than it makes it sharper


class CaptionSubset:
    """Some rows of a caption set, read like a whole one.

    Args:
        source: the whole set.
        indices: (n,) rows of it, ascending.
    """

    def __init__(self, source: CaptionFeatures, indices: np.ndarray):
        self.source, self.indices = source, indices
        self.image_dim, self.text_dim = source.image_dim, source.text_dim

    @property
    def image_ids(self) -> np.ndarray:
        """(n,) int64, the image of each caption."""
        return self.source.image_ids[self.indices]

    @property
    def num_images(self) -> int:
        """Different images."""
        return len(np.unique(self.image_ids))

    def __len__(self) -> int:
        return len(self.indices)

    def rows(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Columns of some rows, as the whole set gives them."""
        return self.source.rows(self.indices[np.asarray(indices, dtype=np.int64)])

    def texts(self) -> pa.ChunkedArray:
        """The captions of these rows."""
        return self.source.texts().take(self.indices)

    def image_names(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """Names of the images of some captions, as the whole set gives them."""
        return self.source.image_names(self.indices[np.asarray(indices, dtype=np.int64)])


def hold_out(captions: CaptionFeatures, seed: int, share: float = SHARE) -> tuple[CaptionSubset, CaptionSubset]:
    """Captions to train on, and those of a share of the images, drawn by `seed`: at most `MOST_IMAGES` of them.

    Raises:
        ValueError: fewer than two images would be held out.
    """
    images = np.unique(captions.image_ids)
    count = min(round(share * len(images)), MOST_IMAGES)
    if count < 2:
        raise InputError(
            f"multimodal_dataset has {len(images)} images, of which {share:.0%} are too few to judge a run by: give "
            "pairs to score (stsb_path, eval_dataset), or set eval_strategy to no"
        )
    chosen = np.random.default_rng((seed, 2)).choice(images, size=count, replace=False)
    held = np.isin(captions.image_ids, chosen)
    return CaptionSubset(captions, np.flatnonzero(~held)), CaptionSubset(captions, np.flatnonzero(held))


class HeldOutCaptions:
    """The captions of held-out images, as sentences to be scored.

    Args:
        captions: of the held-out images.
    """

    def __init__(self, captions: CaptionFeatures):
        columns = captions.rows(np.arange(len(captions)))
        self.texts, self.image_ids = list(columns["text"]), np.asarray(columns["image_ids"])
        self.image_embeds = columns.get("image_embeds")
        if self.image_embeds is not None:
            self.images, first = np.unique(self.image_ids, return_index=True)
            self.image_embeds = self.image_embeds[first]

    @property
    def has_several_captions_an_image(self) -> bool:
        """Whether captions of one image can be searched for among each other."""
        return len(np.unique(self.image_ids)) < len(self.image_ids)

    def __len__(self) -> int:
        return len(self.texts)
