"""Figures 5 and 6: what the teacher says about a caption set."""

import json
import pathlib

from kdmcse_hf.commands.inspect_teacher import data_title
from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.teacher.analysis import farthest_ranks, pair_similarities, threshold_by_quantile
from kdmcse_hf.teacher.plots import plot_ranks, plot_similarities
from kdmcse_hf.teacher.report import summarise, summarise_ranks

SAMPLING = {"batch_size": 64, "num_batches": 500, "seed": 0}
# Section 6.2.
PAPER = {
    "figure5": "The paper (Flickr30k, about 150,000 captions): most of the true captions of an image are in the top "
    "100, quite a few beyond 200.",
    "figure6": "The paper (Flickr30k): normally distributed; only a few pairs above 0.8, rapidly fewer towards 1; "
    "hence a threshold of about 0.85 to 0.9.",
}


def teacher_figure(name: str, captions: str, output: pathlib.Path) -> str:
    """Write `name`.png, .json and .md, and return the text.

    Args:
        name: `figure5`, ranks of each image's farthest caption, or `figure6`, similarities of pairs.
        captions: as `multimodal_dataset` of recipes/train.py.
    """
    source = load_captions(captions)
    data = data_title(source, pathlib.Path(captions))
    output.mkdir(parents=True, exist_ok=True)
    if name == "figure5":
        found = summarise_ranks(*_ranks(source, output / "figure5.png", data))
        lines = [f"- up to rank {top}: {share:.1%} of the images" for top, share in found["share_up_to"].items()]
        lines.append(f"- median {found['q0.5']:,.0f}, 99 % up to {found['q0.99']:,.0f}, last {found['max']:,}")
        title = f"Figure 5: rank of the farthest true caption among {len(source):,}"
    else:
        found = _similarities(source, output / "figure6.png", data)
        lines = [
            f"- {kind.replace('_', ' and ')}, {pairs} pairs: mean {values['mean']:.3f}, 99.9 % up to "
            f"{values['q0.999']:.3f}, highest {values['max']:.3f}"
            for kind, samples in found.items()
            for pairs, values in samples.items()
            if values
        ]
        title = "Figure 6: similarities of captions with images and with captions"
    text = "\n".join([f"# {title}", "", *lines, "", PAPER[name]]) + "\n"
    (output / f"{name}.md").write_text(text, encoding="utf-8")
    (output / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return text


def _ranks(source, path: pathlib.Path, title: str) -> tuple:
    image_ids, ranks = farthest_ranks(source)
    plot_ranks(ranks, len(source), path, title)
    return image_ids, ranks


def _similarities(source, path: pathlib.Path, title: str) -> dict:
    pairs = pair_similarities(source, **SAMPLING)
    pairs = {kind: samples for kind, samples in pairs.items() if len(samples["random"])}
    thresholds = threshold_by_quantile(source)
    plot_similarities(pairs, {kind: thresholds[kind] for kind in pairs}, path, title)
    return {kind: {name: summarise(values) for name, values in samples.items()} for kind, samples in pairs.items()}
