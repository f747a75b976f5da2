"""The pictures of a report, as PNG bytes. Needs matplotlib, the extra `plots`."""

import io
import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence

from .history import Points
from .html import figure_text

# The colours of Okabe and Ito, which people with any colour vision tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
INK, FAINT = "#1c2430", "#d9dee5"
_DPI = 160
_SIZE = (5.6, 3.5)  # inches: 900 x 560 pixels, twice what the page shows beside another picture


def run_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each run, by name."""
    return dict(zip(names, itertools.cycle(COLOURS), strict=False))


def curves(
    lines: dict[str, Points],
    ylabel: str,
    baselines: dict[str, float] | None = None,
    marked: dict[str, tuple[int, float]] | None = None,
    colours: dict[str, str] | None = None,
) -> bytes:
    """Values over the training steps, a line a run.

    Args:
        lines: (step, value) points by name of the run.
        ylabel: what the values are.
        baselines: by name of the run, its level before training, drawn as a dotted line.
        marked: by name of the run, one point drawn as a star with its value.
        colours: by name of the run, of all runs on the page, so that each keeps its colour from picture to picture.
    """
    figure, axes = _canvas()
    colours = colours or run_colours(lines)
    for name, points in lines.items():
        colour = colours[name]
        steps, values = zip(*points, strict=True)
        style = {"marker": "o", "markersize": 3.5} if len(points) <= 40 else {}
        axes.plot(steps, values, color=colour, linewidth=1.8, label=name, **style)
        if name in (marked or {}):
            step, value = marked[name]  # type: ignore[index]
            axes.plot([step], [value], marker="*", markersize=13, color=colour, markeredgecolor="white")
            axes.annotate(
                figure_text(value),
                (step, value),
                (-6, 8),
                textcoords="offset points",
                ha="right",
                color=INK,
                fontsize=9,
            )
    _draw_baselines(axes, baselines or {}, colours)
    axes.set(xlabel="training step", ylabel=ylabel)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.14)
    if max(len(colours), len(axes.get_legend_handles_labels()[0])) > 1:
        axes.legend(frameon=False, fontsize=8.5)
    return to_png(figure)


def _draw_baselines(axes, baselines: dict[str, float], colours: dict[str, str]) -> None:
    """Dotted levels before training, one line for all runs where they started from the same encoder."""
    shared = len(set(baselines.values())) == 1
    for name, level in list(baselines.items())[: 1 if shared else None]:
        colour = INK if shared else colours[name]
        label = "before training" if shared else f"{name}, before training"
        axes.axhline(level, color=colour, linestyle=":", linewidth=1.4, label=label)


def bars(
    groups: Sequence[str], series: dict[str, Sequence[float]], ylabel: str, colours: Sequence[str], digits: int = 1
) -> bytes:
    """Grouped bars with their figures above them: one group of bars a name in `groups`, one bar a series in each."""
    figure, axes = _canvas()
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        places = [group + (number - (len(series) - 1) / 2) * width for group in range(len(groups))]
        drawn = axes.bar(places, values, width * 0.92, label=name, color=colours[number])
        axes.bar_label(drawn, [figure_text(value, digits) for value in values], padding=2, fontsize=10, color=INK)
    axes.set(ylabel=ylabel, xticks=range(len(groups)), xticklabels=groups)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=len(series), frameon=False)
    return to_png(figure)


def captioned_sheet(pictures: Sequence[tuple], columns: int) -> bytes:
    """Pictures in rows of `columns`, each (PIL image or array, caption) with its caption below."""
    from matplotlib.figure import Figure

    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(2.3 * columns, 2.5 * rows), facecolor="white")
    for number, (picture, caption) in enumerate(pictures):
        row, column = divmod(number, columns)
        left, top = (column + 0.08) / columns, 1 - (row + 0.05) / rows
        panel = figure.add_axes((left, top - 0.62 / rows, 0.84 / columns, 0.62 / rows))
        panel.imshow(picture, interpolation="lanczos")
        panel.axis("off")
        middle, below = left + 0.42 / columns, top - 0.66 / rows
        figure.text(middle, below, textwrap.fill(caption, 27), ha="center", va="top", color=INK, fontsize=9)
    return to_png(figure, dpi=100)


def alignment_uniformity(paths: dict[str, list[tuple[float, float]]], colours: dict[str, str]) -> bytes:
    """Uniformity against alignment, a path a run from its first evaluation to its last; both better when lower."""
    figure, axes = _canvas()
    for name, places in paths.items():
        colour = colours[name]
        xs, ys = zip(*places, strict=True)
        axes.plot(xs, ys, color=colour, linewidth=1.2, alpha=0.7, marker="o", markersize=3)
        axes.plot(xs[:1], ys[:1], "o", color="white", markeredgecolor=colour, markersize=8, markeredgewidth=1.6)
        axes.plot(xs[-1:], ys[-1:], "*", color=colour, markeredgecolor="white", markersize=14, label=name)
    axes.set(xlabel="uniformity (lower is better)", ylabel="alignment (lower is better)")
    axes.margins(0.12)
    if len(colours) > 1:
        axes.legend(frameon=False, fontsize=8.5)
    return to_png(figure)


def to_png(figure, dpi: int = _DPI) -> bytes:
    """The PNG file of a matplotlib figure, without the name of the program that drew it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _canvas() -> tuple:
    """A matplotlib figure with one panel, and the panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#8a94a3")
    axes.grid(color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9)
    axes.xaxis.label.set(color=INK, fontsize=10)
    axes.yaxis.label.set(color=INK, fontsize=10)
    return figure, axes
