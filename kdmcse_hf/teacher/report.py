"""The numbers of a teacher's inspection, as JSON values.

`sampling` is {"batch_size", "num_batches", "seed"}: the random batches whose pairs are looked at.
"""

from dataclasses import asdict

import numpy as np

from ..features.caption_features import CaptionFeatures
from . import analysis
from .plots import PAPER_THRESHOLD
from .retrieval import overlap, recall_against_chance, scan_captions, worst_pairs
from .verdict import CRITERIA, judge

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def verdict_report(source: CaptionFeatures, sampling: dict, examples: int) -> tuple[dict, dict, np.ndarray]:
    """The verdict and the numbers behind it.

    Args:
        examples: Worst pairs to list.

    Returns:
        The report; the samples of pairs of `pair_similarities`, of the kinds that the features allow; and image_ids
        (n,), the image of each caption.
    """
    image_ids, similarities = scan_captions(source)
    pairs = analysis.pair_similarities(source, **sampling)
    overlaps = {kind: overlap(**samples) for kind, samples in pairs.items()}
    recalls = recall_against_chance(source, image_ids, seed=sampling["seed"])
    images = len(np.unique(image_ids))
    verdict = judge(images, overlaps, recalls, source.image_dim, source.text_dim)
    worst = []
    if similarities is not None:
        worst = worst_pairs(source, image_ids, similarities, examples)
        _name_images(worst, source, image_ids)
    report = {
        "captions": len(source),
        "images": images,
        "verdict": {**asdict(verdict), "criteria": CRITERIA},
        "retrieval": recalls,
        "overlap": overlaps,
        "worst_pairs": worst,
    }
    return report, {kind: samples for kind, samples in pairs.items() if len(samples["random"])}, image_ids


def threshold_report(
    source: CaptionFeatures, thresholds: dict[str, float], pairs: dict, sampling: dict, examples: int
) -> dict[str, dict]:
    """How similar pairs are, and what thresholds would leave out, over a grid of them and with examples.

    Args:
        thresholds: {kind: recommended threshold}, of the kinds that the features allow.
        pairs: The samples of `verdict_report`.
        examples: Pairs above the threshold to list, of each kind.
    """
    grid = sorted({*np.round(np.arange(-0.2, 1.001, 0.01), 2).tolist(), PAPER_THRESHOLD, *thresholds.values()})
    return {
        "recommended_thresholds": thresholds,
        "similarities": {
            kind: {name: summarise(values) for name, values in samples.items()} for kind, samples in pairs.items()
        },
        "filtered": analysis.filtered_shares(source, grid, **sampling),
        "examples": analysis.examples_above(source, thresholds, **sampling, count=examples),  # type: ignore[arg-type]
    }


def name_reported_images(report: dict, source: CaptionFeatures, image_ids: np.ndarray) -> None:
    """Put the file name of an image beside its number, in the examples and in the ranks of a report."""
    for pairs in report["examples"].values():
        _name_images(pairs, source, image_ids)
    if report["ranks"]:
        _name_images(report["ranks"]["farthest"], source, image_ids)


def _name_images(entries: list[dict], source: CaptionFeatures, image_ids: np.ndarray) -> None:
    known, first_rows = np.unique(image_ids, return_index=True)
    for entry in entries:
        for number, name in (("image_id", "image"), ("other_image_id", "other_image")):
            if number in entry:
                row = first_rows[np.searchsorted(known, entry[number])]
                entry[name] = source.image_names([row])[0]


def summarise(values: np.ndarray) -> dict[str, float] | None:
    """Number, mean, extremes and quantiles of a sample."""
    if not len(values):
        return None
    quantiles = {f"q{q}": float(np.quantile(values, q)) for q in QUANTILES}
    ends = {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
    return {"pairs": len(values), **ends, **quantiles}


def summarise_ranks(image_ids: np.ndarray, ranks: np.ndarray) -> dict:
    """Quantiles of the ranks, shares of images up to some, and the images with the farthest captions."""
    farthest = np.argsort(-ranks, kind="stable")[:20]
    return {
        "images": len(ranks),
        **{f"q{q}": float(np.quantile(ranks, q)) for q in QUANTILES},
        "max": int(ranks.max()),
        "share_up_to": {str(top): float((ranks <= top).mean()) for top in (5, 10, 100, 200, 1000)},
        "farthest": [{"image_id": int(image_ids[place]), "rank": int(ranks[place])} for place in farthest],
    }
