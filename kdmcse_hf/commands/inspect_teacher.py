"""Whether a teacher is any good for these captions, and what a threshold on its similarities would filter.

    kdmcse inspect-teacher DIR         (in a checkout: python recipes/inspect_teacher.py)

DIR is what recipes/train.py takes as `multimodal_dataset`: a feature directory of recipes/extract_features.py, or a
dataset directory or file with columns `text`, `image_embeds`, `text_embeds` and optionally `image_id`. Prints a
verdict (good, weak or useless) with the numbers behind it and the recommended thresholds, and writes inspection.json;
with matplotlib also similarities.png (the paper's Figure 6), ranks.png (Figure 5) and thresholds.png. See
docs/teacher.md for how to read them.
"""

import argparse
import json
import pathlib
import sys
import textwrap

import numpy as np

from ..data.captions import FEATURES, load_captions
from ..data.text import load_rows
from ..features.caption_features import CaptionFeatures
from ..features.store import FeatureStore
from ..ranges import Range
from ..teacher import analysis, plots
from ..teacher.plots import PAPER_THRESHOLD, TITLES
from ..teacher.report import name_reported_images, summarise_ranks, threshold_report, verdict_report
from .exit_status import AT_LEAST_1, SEED, CommandParser, exit_status, program_name, ranged
from .outputs import check_folder

WORST_PRINTED = 5  # of the worst pairs; inspection.json has as many as `examples`


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse leaves with status 2 on unusable arguments."""
    parser = CommandParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=pathlib.Path, metavar="DIR", help="captions with features")
    parser.add_argument(
        "--output_dir",
        type=pathlib.Path,
        help="where to write (inspection inside a feature directory or saved dataset, otherwise beside DIR)",
    )
    parser.add_argument(
        "--batch_size",
        type=ranged(Range(type=int, least=2)),
        default=64,
        help="training batch that is filtered (%(default)s)",
    )
    parser.add_argument(
        "--num_batches", type=ranged(AT_LEAST_1), default=500, help="random batches to look at (%(default)s)"
    )
    parser.add_argument(
        "--quantile",
        type=ranged(Range(above=0, below=1)),
        default=0.999,
        help="of negatives, that a threshold keeps (%(default)s)",
    )
    parser.add_argument(
        "--max_images", type=ranged(AT_LEAST_1), default=30_000, help="images to rank, at most (%(default)s)"
    )
    parser.add_argument(
        "--examples",
        type=ranged(Range(type=int, least=0)),
        default=20,
        help="pairs to show of each kind (%(default)s)",
    )
    parser.add_argument("--seed", type=ranged(SEED), default=0, help="of the random batches (%(default)s)")
    return parser.parse_args(argv)


def load_features(directory: str) -> CaptionFeatures:
    """Captions with whatever teacher features are there: of images, of captions or of both.

    Raises:
        FileNotFoundError, ValueError: there is no such thing, or it has no captions or no features.
    """
    if FeatureStore.is_store(directory):
        return FeatureStore.open(directory)
    names = load_rows(directory, "DIR").column_names
    return load_captions(directory, [name for name in FEATURES if name in names] or FEATURES)


def output_folder(arguments: argparse.Namespace) -> pathlib.Path:
    """Where to write, made if absent. In a directory of data files the next `load_dataset` would read our files.

    Raises:
        ValueError: It cannot be made.
    """
    directory, folder = arguments.directory, arguments.output_dir
    if folder is None and (FeatureStore.is_store(directory) or (directory / "state.json").is_file()):
        folder = directory / "inspection"
    elif folder is None:
        folder = directory.with_name(f"{directory.name}-inspection")
    check_folder(folder, "--output_dir")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say_verdict(report: dict) -> list[str]:
    """The verdict and the numbers behind it in sentences."""
    verdict = report["verdict"]
    lines = [f"Verdict: {verdict['grade'] or 'not judged'}. {verdict['reason']} {verdict['advice']}".rstrip()]
    for direction, found in (report["retrieval"] or {}).items():
        recalls = ", ".join(f"recall@{top} {share:.1%}" for top, share in found["recall"].items())
        chances = ", ".join(f"{share:.1%}" for share in found["chance"].values())
        lines.append(
            f"  {direction.replace('_', ' ')}: {recalls} (by chance {chances}), "
            f"{found['queries']:,} queries, {found['candidates']:,} candidates"
        )
    for kind, share in report["overlap"].items():
        if share is not None:
            lines.append(
                f"  {TITLES[kind]}: {share:.1%} of random pairs are more similar than a true one (chance: 50%)"
            )
    if report["worst_pairs"]:
        lines.append("  captions least similar to their images:")
    for pair in report["worst_pairs"][:WORST_PRINTED]:
        lines.append(f"    {pair['similarity']:.3f}  {pair['image']}  {textwrap.shorten(pair['caption'], 80)}")
    return lines


def say_thresholds(report: dict) -> list[str]:
    """What thresholds filter, and where the farthest captions are, in sentences."""
    lines = [f"{report['captions']:,} captions of {report['images']:,} images, batches of {report['batch_size']}"]
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
            f"  recommended {threshold:.4f} (q{report['quantile']}, the same in training): filters "
            f"{ours['negatives']:.4%} of the negatives, touches {ours['batches_touched']:.1%} of the batches"
        )
    if ranks := report["ranks"]:
        lines.append(f"farthest true caption: median rank {ranks['q0.5']:,.0f}, 99 % up to {ranks['q0.99']:,.0f}")
    return lines


def data_title(source: CaptionFeatures, directory: pathlib.Path) -> str:
    """Teacher and data, for the titles of plots. Of a path the last two parts say enough."""
    teacher = "not recorded"
    if isinstance(source, FeatureStore):
        teacher = _last_parts(source.manifest["teacher"]["name"])
    data = _last_parts(directory.absolute())
    return f"teacher: {teacher}; data: {data}, {len(source):,} captions of {source.num_images:,} images"


def _last_parts(path: str | pathlib.Path) -> str:
    return "/".join(pathlib.PurePath(path).parts[-2:])


def draw(report: dict, pairs: dict, ranks: np.ndarray | None, folder: pathlib.Path, title: str) -> str:
    """Draw the plots; return a line that says where they are, or how to get them."""
    thresholds = report["recommended_thresholds"]
    if not thresholds:
        return "There are no similarities, so no plots were drawn."
    try:
        plots.plot_similarities(pairs, thresholds, folder / "similarities.png", title)
    except ImportError as error:
        return f"No plots were drawn. {error}, then run this command again."
    plots.plot_filtered(report["filtered"], thresholds, report["batch_size"], folder / "thresholds.png", title)
    if ranks is not None:
        plots.plot_ranks(ranks, report["captions"], folder / "ranks.png", title)
    return f"plots in {folder}"


def run(arguments: argparse.Namespace) -> None:
    """Inspect, say what was found as soon as it is known, write the report, and draw the plots last."""
    source, folder = load_features(str(arguments.directory)), output_folder(arguments)
    sampling = {name: getattr(arguments, name) for name in ("batch_size", "num_batches", "seed")}
    thresholds = analysis.threshold_by_quantile(source, arguments.quantile)
    thresholds = {kind: threshold for kind, threshold in thresholds.items() if threshold is not None}
    report = {
        "directory": str(arguments.directory),
        "teacher": source.manifest["teacher"] if isinstance(source, FeatureStore) else None,
        "quantile": arguments.quantile,
        **sampling,
    }
    judged, pairs, image_ids = verdict_report(source, sampling, arguments.examples)
    report |= judged
    verdict = say_verdict(report)
    print("\n".join(verdict), flush=True)
    report |= threshold_report(source, thresholds, pairs, sampling, arguments.examples)  # type: ignore[arg-type]
    ranks, report["ranks"] = None, None
    if "caption_image" in thresholds:
        ranked, ranks = analysis.farthest_ranks(source, arguments.max_images, arguments.seed)
        report["ranks"] = summarise_ranks(ranked, ranks)
    name_reported_images(report, source, image_ids)
    filtered = say_thresholds(report)
    report["findings"] = verdict + filtered
    (folder / "inspection.json").write_text(json.dumps(report, ensure_ascii=False, indent=1), encoding="utf-8")
    print("\n".join([*filtered, f"numbers and examples in {folder / 'inspection.json'}"]), flush=True)
    print(draw(report, pairs, ranks, folder, data_title(source, arguments.directory)))


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    return exit_status(program_name(), lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
