"""Captions with drawn teacher features, in memory and as feature directories."""

import pathlib

import numpy as np

from kdmcse_hf.features.writer import FeatureShard, FeatureWriter


class DrawnFeatures:
    """A caption source of arrays.

    Args:
        texts, images: (n, width) features of each caption and of its image; None where there are none.
        image_ids: (n,) the image of each caption.
    """

    def __init__(self, texts: np.ndarray | None, images: np.ndarray | None, image_ids: np.ndarray) -> None:
        features = {"text_embeds": texts, "image_embeds": images}
        self.features = {name: part.astype(np.float32) for name, part in features.items() if part is not None}
        self.image_ids = np.asarray(image_ids)
        self.text_dim, self.image_dim = (
            self.features[name].shape[1] if name in self.features else None for name in features
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    def rows(self, indices) -> dict:
        text = [f"caption {index}" for index in indices]
        columns = {name: part[indices] for name, part in self.features.items()}
        return {"text": text, "image_ids": self.image_ids[indices], **columns}

    def image_names(self, indices) -> list[str]:
        return [f"image {self.image_ids[index]}" for index in indices]


def draw_features(
    images: int, captions: int, noise: float, width: int = 16, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of captions that say what is in their image, but for noise.

    Args:
        images, captions: Number of images, and of captions of each.
        noise: Standard deviation of the noise of a caption, beside 1 of what it says; infinite for captions that have
            nothing to do with their image.

    Returns:
        Caption features (n, width), features of each caption's image (n, width), image_ids (n,).
    """
    generator = np.random.default_rng(seed)
    ids = np.repeat(np.arange(images), captions)
    of_images = generator.normal(size=(images, width))[ids]
    said = 0 if np.isinf(noise) else of_images
    texts = said + (1 if np.isinf(noise) else noise) * generator.normal(size=(len(ids), width))
    return texts, of_images, ids


def write_directory(
    path: pathlib.Path, texts: np.ndarray | None, images: np.ndarray, ids: np.ndarray, teacher: str = "drawn"
) -> pathlib.Path:
    """A feature directory; caption k is "caption k", image i is the file "i.jpg". `ids` ascend."""
    writer = FeatureWriter(path, {"teacher": {"name": teacher}, "source": {}, "options": {}})
    known, first = np.unique(ids, return_index=True)
    names = [f"{image}.jpg" for image in known]
    captions = [f"caption {row}" for row in range(len(ids))]
    embeds = None if texts is None else texts.astype(np.float16)
    writer.write(0, FeatureShard(known, names, images[first].astype(np.float16), captions, ids, embeds))
    writer.finish(1)
    return path
