"""`CaptionFeatures`: what training, and the analysis of a teacher, read captions and their features through."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa


class CaptionFeatures(Protocol):
    """Captions with their teacher's features, in numbered rows.

    `store.FeatureStore` reads them from a feature directory, `data.captions.Captions` from any caption dataset.
    """

    @property
    def image_dim(self) -> int | None:
        """Width of the image features; None where there are none."""

    @property
    def text_dim(self) -> int | None:
        """Width of the caption features; None, or 0 in a feature directory, where there are none."""

    @property
    def num_images(self) -> int:
        """Number of different images."""

    @property
    def image_ids(self) -> np.ndarray:
        """(len(self),) int64, the image of each caption; read when asked for."""

    def __len__(self) -> int:
        """Number of captions, and so of rows."""

    def rows(self, indices: Sequence[int] | np.ndarray) -> dict[str, Any]:
        """Some rows, in the order asked for.

        Args:
            indices: n row numbers from 0 to len(self) - 1.

        Returns:
            "text", a list of n captions; as far as there are features, "image_embeds", (n, image_dim), and
            "text_embeds", (n, text_dim), float32; "image_ids", (n,) int64, equal for captions of one image.
        """

    def texts(self) -> pa.ChunkedArray:
        """All captions, (len(self),) strings in the order of the rows, without their features."""

    def image_names(self, indices: Sequence[int] | np.ndarray) -> list[str]:
        """Names of the images of some captions, for reports: file names, or what the dataset has as `image_id`.

        Args:
            indices: n row numbers.
        """
