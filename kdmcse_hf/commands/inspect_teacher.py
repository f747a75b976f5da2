"""What the teacher says about captions with features, and what a threshold on its similarities would filter.

    kdmcse inspect-teacher DIR         (in a checkout: python recipes/inspect_teacher.py)

DIR is what recipes/train.py takes as `multimodal_dataset`: a feature directory of recipes/extract_features.py, or a
dataset directory or file with columns `text`, `image_embeds`, `text_embeds` and optionally `image_id`. Writes
similarities.png (the paper's Figure 6), ranks.png (Figure 5), thresholds.png and inspection.json, and prints the
recommended thresholds. See docs/teacher.md for how to read them.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

from ..data.captions import load_captions
from ..features.caption_features import CaptionFeatures
from ..features.store import FeatureStore
from ..teacher import analysis as teacher_statistics
from ..teacher import plots as teacher_plots
from ..teacher.plots import PAPER_THRESHOLD, TITLES
from .exit_status import program_name, run_or_refuse

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse leaves with status 2 on unusable arguments."""
    parser = argparse.ArgumentParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=pathlib.Path, metavar="DIR", help="captions with features")
    parser.add_argument("--output_dir", type=pathlib.Path, help="where to write (DIR/inspection, beside a file)")
    parser.add_argument("--batch_size", type=int, default=64, help="training batch that is filtered (%(default)s)")
    parser.add_argument("--num_batches", type=int, default=500, help="random batches to look at (%(default)s)")
    parser.add_argument(
        "--quantile", type=float, default=0.999, help="of negatives, that a threshold keeps (%(default)s)"
    )
    parser.add_argument("--max_images", type=int, default=30_000, help="pictures to rank, at most (%(default)s)")
    parser.add_argument("--examples", type=int, default=20, help="pairs to show of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the random batches (%(default)s)")
    arguments = parser.parse_args(argv)
    for name, least in (("batch_size", 2), ("num_batches", 1), ("max_images", 1), ("examples", 0)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} {getattr(arguments, name)}: at least {least}")
    return arguments


def measure(source: CaptionFeatures, arguments: argparse.Namespace) -> tuple[dict, dict, np.ndarray | None]:
    """All numbers of the report, the samples of pairs and the ranks."""
    sampling = (arguments.batch_size, arguments.num_batches, arguments.seed)
    thresholds = teacher_statistics.threshold_by_quantile(source, arguments.quantile, *sampling)
    if thresholds["caption_caption"] is None:
        raise ValueError(f"{arguments.directory} has no caption features, so no similarities: it is for mcse")
    thresholds = {kind: threshold for kind, threshold in thresholds.items() if threshold is not None}
    pairs = teacher_statistics.pair_similarities(source, *sampling)
    grid = sorted({*np.round(np.arange(-0.2, 1.001, 0.01), 2).tolist(), PAPER_THRESHOLD, *thresholds.values()})
    image_ids, ranks = None, None
    if source.image_dim == source.text_dim:
        image_ids, ranks = teacher_statistics.farthest_ranks(source, arguments.max_images, arguments.seed)
    report = {
        "directory": str(arguments.directory),
        "teacher": source.manifest["teacher"] if isinstance(source, FeatureStore) else None,
        "captions": len(source),
        "images": source.num_images,
        "batch_size": arguments.batch_size,
        "quantile": arguments.quantile,
        "recommended_thresholds": thresholds,
        "similarities": {
            kind: {name: summarise(values) for name, values in pairs[kind].items()} for kind in thresholds
        },
        "ranks": None if ranks is None else summarise_ranks(image_ids, ranks),
        "filtered": teacher_statistics.filtered_shares(source, grid, *sampling),
        "examples": teacher_statistics.examples_above(source, thresholds, *sampling, arguments.examples),
    }
    return report, {kind: pairs[kind] for kind in thresholds}, ranks


def summarise(values: np.ndarray) -> dict[str, float] | None:
    """Number, mean, extremes and quantiles of a sample."""
    if not len(values):
        return None
    quantiles = {f"q{q}": float(np.quantile(values, q)) for q in QUANTILES}
    ends = {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}
    return {"pairs": len(values), **ends, **quantiles}


def summarise_ranks(image_ids: np.ndarray, ranks: np.ndarray) -> dict:
    """Quantiles of the ranks, shares of pictures up to some, and the pictures with the farthest captions."""
    farthest = np.argsort(-ranks, kind="stable")[:20]
    return {
        "images": len(ranks),
        **{f"q{q}": float(np.quantile(ranks, q)) for q in QUANTILES},
        "max": int(ranks.max()),
        "share_up_to": {str(top): float((ranks <= top).mean()) for top in (5, 10, 100, 200, 1000)},
        "farthest": [{"image_id": int(image_ids[place]), "rank": int(ranks[place])} for place in farthest],
    }


def say(report: dict) -> list[str]:
    """The report in sentences."""
    lines = [f"{report['captions']:,} captions of {report['images']:,} pictures, batches of {report['batch_size']}"]
    for kind, threshold in report["recommended_thresholds"].items():
        rows = {row["threshold"]: row for row in report["filtered"][kind]}
        paper, ours = rows[PAPER_THRESHOLD], rows[threshold]
        highest = report["similarities"][kind]["random"]["max"]
        lines.append(
            f"{TITLES[kind]}: {PAPER_THRESHOLD} filters {paper['negatives']:.4%} of the negatives"
            if paper["negatives"]
            else f"{TITLES[kind]}: {PAPER_THRESHOLD} FILTERS NOTHING, the most similar negative has {highest:.3f}"
        )
        lines.append(
            f"  recommended {threshold:.4f} (quantile {report['quantile']}): filters {ours['negatives']:.4%} "
            f"of the negatives, touches {ours['batches_touched']:.1%} of the batches"
        )
    if ranks := report["ranks"]:
        lines.append(f"farthest true caption: median rank {ranks['q0.5']:,.0f}, 99 % up to {ranks['q0.99']:,.0f}")
    return lines


def run(arguments: argparse.Namespace) -> None:
    """Inspect, write the report and the plots, and say what was found."""
    directory = arguments.directory
    source = load_captions(str(directory))
    report, pairs, ranks = measure(source, arguments)
    folder = arguments.output_dir or (directory if directory.is_dir() else directory.parent) / "inspection"
    folder.mkdir(parents=True, exist_ok=True)
    thresholds = report["recommended_thresholds"]
    teacher_plots.plot_similarities(pairs, thresholds, folder / "similarities.png")
    teacher_plots.plot_filtered(report["filtered"], thresholds, arguments.batch_size, folder / "thresholds.png")
    if ranks is not None:
        teacher_plots.plot_ranks(ranks, len(source), folder / "ranks.png")
    report["findings"] = say(report)
    (folder / "inspection.json").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    print("\n".join([*report["findings"], f"plots, examples and numbers in {folder}"]))


def main(argv: list[str] | None = None) -> int:
    """Run; return 0, or 2 on unusable input."""
    return run_or_refuse(program_name(), run, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
