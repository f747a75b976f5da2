"""The paper's Figures 8 to 12: sentences encoded again and again under dropout, laid out by t-SNE.

python recipes/visualize.py MODEL [MODEL] --output figures.png
One row of plots for each triple of sentences, one column for each model; the default triples are the paper's five, in
its order. t-SNE keeps neighbourhoods, not distances: the mean cosines of the sentences stand above each plot.
"""

import argparse
import itertools
import pathlib
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from kdmcse_hf.annotation_files import read_text
from kdmcse_hf.commands.exit_status import SEED, CommandParser, exit_status, ranged
from kdmcse_hf.commands.outputs import check_file
from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.errors import InputError
from kdmcse_hf.ranges import Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER_TRIPLES = (
    (
        "A white and black dog and a brown dog in sandy terrain.",
        "Brown, black and white dog standing on a sandy slope.",
        "Two girls stand up against a red wall.",
    ),
    (
        "An elderly man holding a pitchfork and doing some yard work.",
        "An old bearded man is tilling the soil with a simple wooden plow, with a wooden fence and an old barn in the "
        "background.",
        "A man in a red shirt is performing an aerial trick with a skateboard on a sidewalk.",
    ),
    (
        "A person wearing a blue shirt, rides a white horse along a dusty country road.",
        "A man in a blue tee-shirt, wearing a cap, is riding a white horse down a dirt road, in a rural setting of "
        "grass and hills.",
        "A man climbing a mountain.",
    ),
    (
        "A dog is jumping into a swimming pool after a duck.",
        "A dog is jumping into a pool to get a duck floating there.",
        "A white curly-haired dog runs with a stick in its mouth.",
    ),
    (
        "A tattooed woman in a black dress holds a drink while sitting at a table in a dimly-lit room.",
        "Scantily clad woman in black waits in a restaurant with other patrons.",
        "Woman bending down to pick up a tennis ball outside in front of a wall with graffiti on it.",
    ),
)
# As in the paper: the two close sentences in orange and blue, the other in green.
STYLES = (("tab:orange", "o"), ("tab:blue", "s"), ("tab:green", "^"))
FORMATS = (".png", ".pdf", ".svg")


def visualize(arguments: argparse.Namespace) -> None:
    """Encodes under dropout, projects, plots and writes the figure.

    Raises:
        ImportError: matplotlib or scikit-learn is missing.
        ValueError: a model has no dropout, so that all its points are one.
    """
    try:
        import matplotlib.figure
        import sklearn.manifold
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'kdmcse_hf[plots,transfer]'") from error

    check_file(arguments.output, "--output")
    groups = read_groups(arguments.sentences) if arguments.sentences else PAPER_TRIPLES
    tsne = sklearn.manifold.TSNE(perplexity=arguments.perplexity, random_state=arguments.seed)
    width = len(arguments.models)
    figure = matplotlib.figure.Figure(figsize=(6 * width, 4.5 * len(groups)), layout="constrained")
    rows = figure.subfigures(len(groups), 1, squeeze=False)[:, 0]
    panels = [row.subplots(1, width, squeeze=False)[0] for row in rows]
    for column, name in enumerate(arguments.models):
        encoder = SentenceEncoder.from_pretrained(name, arguments.pooling)
        for axes, sentences in zip(tqdm(panels, desc=name, unit="plot"), groups, strict=True):
            views = encoder.encode_with_dropout(list(sentences), arguments.views, seed=arguments.seed)
            if np.ptp(views, axis=1).max() < 1e-5:  # rows of one batch may differ by rounding
                raise InputError(f"{name} has no dropout: its views of a sentence are all the same")
            points = tsne.fit_transform(views.reshape(-1, views.shape[-1])).reshape(*views.shape[:2], 2)
            plot(axes[column], points, f"{'/'.join(pathlib.PurePath(name).parts[-2:])}\n{cosines(views)}")
    for row, sentences in zip(rows, groups, strict=True):
        add_legend(row, sentences, 85 * width)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output, dpi=120)
    print(f"wrote {arguments.output}")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line; everything that can be refused without a model is refused here."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="Hub id or directory, one or two of them")
    parser.add_argument(
        "--sentences", type=pathlib.Path, help="text file, a sentence a line, groups parted by blank lines"
    )
    parser.add_argument(
        "--views",
        type=ranged(Range(type=int, least=2)),
        default=100,
        help="times that each sentence is encoded (default: 100)",
    )
    parser.add_argument("--pooling", choices=("cls", "mean"), help="what the repository declares, or cls")
    parser.add_argument("--perplexity", type=ranged(Range(above=0)), default=30.0, help="of t-SNE (default: 30)")
    parser.add_argument("--seed", type=ranged(SEED), default=0, help="of dropout and t-SNE (default: 0)")
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("figures.png"),
        help="png, pdf or svg (default: figures.png)",
    )
    arguments = parser.parse_args(argv)
    if len(arguments.models) > 2:
        parser.error(f"one or two models, found {len(arguments.models)}")
    if arguments.perplexity >= 2 * arguments.views:
        parser.error("--perplexity must be below twice --views")
    if arguments.output.suffix not in FORMATS:
        parser.error(f"--output {arguments.output}: the suffix must be one of {', '.join(FORMATS)}")
    return arguments


def read_groups(path: pathlib.Path) -> list[list[str]]:
    """Groups of two or three sentences.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a group of another size, or no group.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    groups = [list(group) for filled, group in itertools.groupby(lines, key=bool) if filled]
    for group in groups:
        if not 2 <= len(group) <= len(STYLES):
            raise InputError(f"{path}: a group of {len(group)} sentences, expected 2 to {len(STYLES)}: {group[:1]}")
    if not groups:
        raise InputError(f"{path} holds no sentence")
    return groups


def cosines(views: np.ndarray) -> str:
    """The mean cosine of every two sentences, over all their normalised views (sentences, views, hidden)."""
    centres = views.mean(axis=1)
    pairs = itertools.combinations(range(len(centres)), 2)
    return "cosine " + ", ".join(f"{i + 1}-{j + 1}: {centres[i] @ centres[j]:.2f}" for i, j in pairs)


def plot(axes: "Axes", points: np.ndarray, title: str) -> None:
    """Scatters the points (sentences, views, 2) of one group for one model."""
    for (colour, marker), cloud in zip(STYLES, points, strict=False):
        axes.scatter(cloud[:, 0], cloud[:, 1], s=10, color=colour, marker=marker, linewidths=0)
    axes.set_title(title, fontsize=10)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")


def add_legend(row: "Figure", sentences: Sequence[str], width: int) -> None:
    """The sentences of one group, whole, under its plots; lines are `width` characters long."""
    handles = row.axes[0].collections
    labels = [textwrap.fill(f"{number} {sentence}", width) for number, sentence in enumerate(sentences, 1)]
    row.legend(handles, labels, loc="outside lower left", fontsize=9, frameon=False, markerscale=2)


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    return exit_status("visualize.py", lambda: visualize(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
