"""What a teacher says about a caption set, and what a threshold on its similarities would filter.

Every function reads a caption source: `len(source)`, `source.rows(indices)`, `source.image_dim`, `source.text_dim`,
as `feature_store.FeatureStore` has them. Similarities are cosines of the teacher's features, as the paper's alpha.
"""

from collections.abc import Iterator

import numpy as np
from tqdm.auto import tqdm

from ..errors import InputError
from ..evaluation.retrieval import normalise
from ..features.caption_features import CaptionFeatures

KINDS = ("caption_image", "caption_caption")  # alpha^{t,v} and alpha^{t,t}
TIE = 1e-6  # float32 rounding: captions with the same words are not before one another
# The pairs that every threshold by quantile is taken from. It is one fixed sample without arguments, so that training
# and inspection find the same number. A million pairs; about a thousand of them lie above the quantile 0.999.
THRESHOLD_SAMPLE = {"batch_size": 64, "num_batches": 256, "seed": 0}


def threshold_by_quantile(source: CaptionFeatures, quantile: float = 0.999) -> dict[str, float | None]:
    """Thresholds that leave out the most similar negatives: the share 1 - quantile of them.

    Negatives are what training has: pairs of different pictures in random batches. The batches are those of
    `THRESHOLD_SAMPLE`, so that the same captions and quantile give the same thresholds wherever this is called.

    Returns:
        {"caption_image": threshold on alpha^{t,v}, "caption_caption": threshold on alpha^{t,t}}, cosines; None for a
        kind that the source lacks (no caption features, or caption and image features of different widths).

    Raises:
        ValueError: The quantile is not between 0 and 1, or there are no two pictures.
    """
    if not 0 < quantile < 1:
        raise InputError(f"quantile {quantile} is not between 0 and 1; 0.999 filters one negative in a thousand")
    negatives: dict[str, list[np.ndarray]] = {kind: [] for kind in KINDS}
    for rows in random_batches(source, **THRESHOLD_SAMPLE):
        for kind, (similarities, is_negative) in batch_similarities(rows).items():
            negatives[kind].append(similarities[is_negative])
    found = {kind: np.concatenate(parts) if parts else np.empty(0) for kind, parts in negatives.items()}
    if any(negatives.values()) and not any(len(values) for values in found.values()):
        raise InputError("all captions are of one picture: there are no negatives to take a threshold from")
    # Below 1 by rounding, so that captions of the same words are left out where they are the whole share.
    return {
        kind: min(float(np.quantile(values, quantile)), 1 - TIE) if len(values) else None
        for kind, values in found.items()
    }


def random_batches(source: CaptionFeatures, batch_size: int, num_batches: int, seed: int) -> Iterator[dict]:
    """Rows of random batches, the same for the same arguments; smaller ones where the source is smaller."""
    generator = np.random.default_rng(seed)
    size = min(batch_size, len(source))
    for _ in range(num_batches):
        yield source.rows(generator.choice(len(source), size=size, replace=False))


def batch_similarities(rows: dict) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cosines of each caption with each image and each caption of a batch, and which of these pairs are negatives.

    Returns:
        For each kind that the features allow: similarities (n, n), caption rows; negatives (n, n), true where the
        pictures differ.
    """
    texts, images = rows.get("text_embeds"), rows.get("image_embeds")
    if texts is None or not texts.shape[1]:
        return {}
    texts = normalise(texts)
    is_negative = rows["image_ids"][:, None] != rows["image_ids"][None, :]
    found = {"caption_caption": (texts @ texts.T, is_negative)}
    if images is not None and images.shape[1] == texts.shape[1]:
        found["caption_image"] = (texts @ normalise(images).T, is_negative)
    return found


def pair_similarities(source: CaptionFeatures, batch_size: int, num_batches: int, seed: int) -> dict[str, dict]:
    """Samples of true and of random pairs: the paper's Figure 6.

    Returns:
        {kind: {"true": (m,), "random": (n,)}}: a caption with its own picture, or with another caption of it; and with
        another picture, or a caption of one.
    """
    samples: dict[str, dict[str, list[np.ndarray]]] = {kind: {"true": [], "random": []} for kind in KINDS}
    for rows in random_batches(source, batch_size, num_batches, seed):
        found = batch_similarities(rows)
        for kind, (similarities, is_negative) in found.items():
            samples[kind]["random"].append(similarities[is_negative])
        if "caption_image" in found:
            samples["caption_image"]["true"].append(np.diagonal(found["caption_image"][0]))
    for rows in _neighbours(source, batch_size, num_batches, seed):
        if "caption_caption" in (found := batch_similarities(rows)):
            similarities, is_negative = found["caption_caption"]
            samples["caption_caption"]["true"].append(similarities[np.triu(~is_negative, k=1)])
    return {
        kind: {pairs: np.concatenate(parts) if parts else np.empty(0, np.float32) for pairs, parts in kinds.items()}
        for kind, kinds in samples.items()
    }


def _neighbours(source: CaptionFeatures, size: int, count: int, seed: int) -> Iterator[dict]:
    """Rows that stand together, as captions of one picture do, from random places."""
    generator = np.random.default_rng(seed)
    size = min(size, len(source))
    for start in generator.integers(len(source) - size + 1, size=count):
        yield source.rows(np.arange(start, start + size))


def farthest_ranks(
    source: CaptionFeatures, max_images: int = 30_000, seed: int = 0, block: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """The rank of each picture's farthest caption among all captions by similarity: the paper's Figure 5.

    Exact to float32 rounding, in blocks of captions: memory is that of `max_images` features and one block.

    Args:
        max_images: Random pictures to rank, if there are more.

    Returns:
        image_ids (m,) and ranks (m,) from 1; the best rank a picture of five captions can have is 5.

    Raises:
        ValueError: Caption and image features have different widths.
    """
    if source.text_dim != source.image_dim:
        raise InputError(
            f"captions have {source.text_dim} features, images {source.image_dim}: there is no similarity"
        )
    blocks = [np.arange(start, min(start + block, len(source))) for start in range(0, len(source), block)]
    all_ids = np.concatenate([source.rows(rows)["image_ids"] for rows in tqdm(blocks, desc="images", leave=False)])
    image_ids, first_rows = np.unique(all_ids, return_index=True)
    if len(image_ids) > max_images:
        chosen = np.sort(np.random.default_rng(seed).choice(len(image_ids), size=max_images, replace=False))
        image_ids, first_rows = image_ids[chosen], first_rows[chosen]
    images = normalise(source.rows(first_rows)["image_embeds"])
    lowest = np.full(len(images), np.inf, dtype=np.float32)
    own_rows = np.flatnonzero(np.isin(all_ids, image_ids))
    for start in range(0, len(own_rows), block):
        rows = source.rows(own_rows[start : start + block])
        places = np.searchsorted(image_ids, rows["image_ids"])
        np.minimum.at(lowest, places, (normalise(rows["text_embeds"]) * images[places]).sum(axis=1))
    ranks = np.bincount(np.searchsorted(image_ids, all_ids[own_rows]), minlength=len(images))
    for indices in tqdm(blocks, desc="ranks"):
        similarities = normalise(source.rows(indices)["text_embeds"]) @ images.T
        own = np.flatnonzero(np.isin(all_ids[indices], image_ids))
        similarities[own, np.searchsorted(image_ids, all_ids[indices][own])] = -np.inf
        ranks += (similarities > lowest + TIE).sum(axis=0)
    return image_ids, ranks


def filtered_shares(
    source: CaptionFeatures, thresholds: list[float], batch_size: int, num_batches: int, seed: int
) -> dict[str, list[dict[str, float]]]:
    """What each threshold would leave out in random training batches.

    Returns:
        {kind: [{"threshold", "negatives": share of all negatives, "batches_touched": share of batches that lose at
        least one, "rows_emptied": share of captions left without a negative, "batches_emptied": share of batches left
        without a negative}]}.
    """
    counts = {kind: np.zeros((len(thresholds), 4)) for kind in KINDS}
    totals = {kind: np.zeros(4) for kind in KINDS}
    for rows in random_batches(source, batch_size, num_batches, seed):
        for kind, (similarities, is_negative) in batch_similarities(rows).items():
            totals[kind] += is_negative.sum(), 1, len(is_negative), 1
            for number, threshold in enumerate(thresholds):
                left_out = is_negative & (similarities >= threshold)
                emptied = (left_out == is_negative).all(axis=1)
                counts[kind][number] += left_out.sum(), left_out.any(), emptied.sum(), emptied.all()
    names = ("negatives", "batches_touched", "rows_emptied", "batches_emptied")
    return {
        kind: [
            {"threshold": threshold, **dict(zip(names, (row / totals[kind]).tolist(), strict=True))}
            for threshold, row in zip(thresholds, counts[kind], strict=True)
        ]
        for kind in KINDS
        if totals[kind].all()
    }


def examples_above(
    source: CaptionFeatures,
    thresholds: dict[str, float | None],
    batch_size: int,
    num_batches: int,
    seed: int,
    count: int,
) -> dict[str, list[dict]]:
    """Negatives at or above the thresholds, with their text, evenly from the least to the most similar.

    Returns:
        {kind: [{"similarity", "caption", "other_caption", "image_id", "other_image_id"}]}; of a caption-image pair,
        `other_caption` is a caption of the picture.
    """
    found: dict[str, list[dict]] = {kind: [] for kind in KINDS}
    for rows in random_batches(source, batch_size, num_batches, seed):
        for kind, (similarities, is_negative) in batch_similarities(rows).items():
            for row, column in np.argwhere(is_negative & (similarities >= thresholds[kind])).tolist():
                if kind == "caption_image" or row < column:
                    found[kind].append(_example(rows, float(similarities[row, column]), row, column))
    for kind, pairs in found.items():
        pairs.sort(key=lambda pair: pair["similarity"])
        places = np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int))
        found[kind] = [pairs[place] for place in places]
    return found


def _example(rows: dict, similarity: float, row: int, column: int) -> dict:
    return {
        "similarity": round(similarity, 4),
        "caption": rows["text"][row],
        "other_caption": rows["text"][column],
        "image_id": int(rows["image_ids"][row]),
        "other_image_id": int(rows["image_ids"][column]),
    }
