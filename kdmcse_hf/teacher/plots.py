"""Plots of what `teacher_statistics` found; needs the extra `plots`."""

import pathlib
import textwrap
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER_THRESHOLD = 0.85
_ABOVE = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 2, "fontsize": "small", "frameon": False}
TITLES = {"caption_image": "caption and image", "caption_caption": "caption and caption"}


def plot_similarities(
    pairs: dict[str, dict], thresholds: dict[str, float | None], path: pathlib.Path, title: str
) -> None:
    """Histograms of true and of random pairs, a panel a kind: the paper's Figure 6.

    Args:
        pairs: Of `pair_similarities`.
        thresholds: Recommended ones, drawn as lines beside the paper's.
        path: PNG file to write.
        title: Teacher and data.
    """
    axes = _panels(len(pairs), path)
    bins = np.linspace(-1, 1, 201)
    for panel, (kind, samples) in zip(axes, pairs.items(), strict=True):
        for name, colour in (("random", "tab:orange"), ("true", "tab:blue")):
            if len(values := samples[name]):
                shares = np.histogram(values, bins)[0] / len(values)
                panel.stairs(shares, bins, fill=True, color=colour, alpha=0.6, label=f"{name} pairs")
        _mark_thresholds(panel, thresholds[kind])
        lowest = min((values.min() for values in samples.values() if len(values)), default=-1)
        panel.set(xlabel=f"cosine of {TITLES[kind]}", ylabel="share of pairs", xlim=(lowest - 0.05, 1.02))
        panel.legend(**_ABOVE)
    _save(axes, path, title)


def plot_ranks(ranks: np.ndarray, num_captions: int, path: pathlib.Path, title: str) -> None:
    """Histogram of the rank of each picture's farthest caption: the paper's Figure 5."""
    (panel,) = _panels(1, path)
    bins = np.unique(np.geomspace(1, num_captions + 1, 60).astype(int))
    panel.hist(ranks, bins=bins, color="tab:blue")  # type: ignore[arg-type]
    panel.axvline(np.median(ranks), color="black", linestyle="--", label=f"median {np.median(ranks):,.0f}")
    panel.set(xscale="log", yscale="log", ylabel="images")
    panel.set_xlabel(f"rank of the farthest true caption among {num_captions:,} captions")
    panel.legend()
    _save([panel], path, title)


def plot_filtered(
    shares: dict[str, list[dict]], thresholds: dict[str, float | None], batch_size: int, path: pathlib.Path, title: str
) -> None:
    """Shares of negatives, of batches and of captions that each threshold touches, a panel a kind."""
    axes = _panels(len(shares), path)
    names = {
        "negatives": "negatives left out",
        "batches_touched": f"batches of {batch_size} that lose one or more",
        "rows_emptied": "captions left without a negative",
    }
    for panel, (kind, rows) in zip(axes, shares.items(), strict=True):
        grid = [row["threshold"] for row in rows]
        for name, label in names.items():
            panel.plot(grid, [row[name] for row in rows], label=label)
        _mark_thresholds(panel, thresholds[kind])
        panel.set(xlabel=f"threshold on the cosine of {TITLES[kind]}", ylabel="share", ylim=(1e-6, 1.5))
        panel.set_yscale("symlog", linthresh=1e-5)
        panel.legend(**_ABOVE)
    _save(axes, path, title)


def _mark_thresholds(panel: "Axes", recommended: float | None) -> None:
    panel.axvline(PAPER_THRESHOLD, color="black", linestyle=":", label=f"the paper's {PAPER_THRESHOLD}")
    if recommended is not None:
        panel.axvline(recommended, color="tab:red", linestyle="--", label=f"recommended {recommended:.3f}")


def _panels(count: int, path: pathlib.Path) -> list["Axes"]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"Drawing {path.name} needs matplotlib: pip install 'kdmcse_hf[plots]'") from error
    return list(Figure(figsize=(6.5 * count, 4.2), layout="constrained").subplots(1, count, squeeze=False)[0])


def _save(axes: list["Axes"], path: pathlib.Path, title: str) -> None:
    figure = axes[0].figure
    characters_per_inch = 12  # at this font size; names of teachers and of data may be long
    figure.suptitle(textwrap.fill(title, int(characters_per_inch * figure.get_figwidth())), fontsize=10)  # type: ignore[union-attr]
    figure.savefig(path, dpi=110, metadata={"Software": None})  # type: ignore[union-attr]
