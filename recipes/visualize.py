"""The paper's Figures 8 to 12: sentences encoded again and again under dropout, laid out by t-SNE.

python recipes/visualize.py MODEL [MODEL] --output figures.png
One row of plots for each triple of sentences, one column for each model; the default triples are the paper's five.
"""

import argparse
import pathlib
import sys

import numpy as np

from kdmcse_hf.evaluation import SentenceEncoder

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
COLOURS = ("tab:orange", "tab:blue", "tab:green")


def main() -> None:
    """Parses the command line, encodes, projects and plots."""
    arguments = parse_arguments()
    try:
        import matplotlib
        import sklearn.manifold
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kdmcse_hf[plots,transfer]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    triples = read_groups(arguments.sentences) if arguments.sentences else PAPER_TRIPLES
    figure, axes = pyplot.subplots(
        len(triples), len(arguments.models), squeeze=False, figsize=(6 * len(arguments.models), 4 * len(triples))
    )
    for column, name in enumerate(arguments.models):
        encoder = SentenceEncoder.from_pretrained(name, arguments.pooling)
        for row, sentences in enumerate(triples):
            views = encoder.encode_with_dropout(list(sentences), arguments.views, seed=arguments.seed)
            points = sklearn.manifold.TSNE(perplexity=arguments.perplexity, random_state=arguments.seed).fit_transform(
                views.reshape(-1, views.shape[-1])
            )
            plot(axes[row, column], points.reshape(len(sentences), arguments.views, 2), sentences)
        axes[0, column].set_title(pathlib.Path(name).name if pathlib.Path(name).exists() else name)
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=120)
    print(f"wrote {arguments.output}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="Hub id or directory, one or two of them")
    parser.add_argument(
        "--sentences", type=pathlib.Path, help="text file, a sentence a line, groups parted by blank lines"
    )
    parser.add_argument("--views", type=int, default=100, help="times that each sentence is encoded (default: 100)")
    parser.add_argument("--pooling", choices=("cls", "mean"), help="what the repository declares, or cls")
    parser.add_argument("--perplexity", type=float, default=30.0, help="of t-SNE (default: 30)")
    parser.add_argument("--seed", type=int, default=0, help="of dropout and t-SNE (default: 0)")
    parser.add_argument(
        "--output", type=pathlib.Path, default="figures.png", help="png, pdf or svg (default: figures.png)"
    )
    arguments = parser.parse_args()
    if len(arguments.models) > 2:
        parser.error(f"one or two models, found {len(arguments.models)}")
    if arguments.views < 2 or not 0 < arguments.perplexity < 2 * arguments.views:
        parser.error("--views must be at least 2 and --perplexity between 0 and twice --views")
    return arguments


def read_groups(path: pathlib.Path) -> list[list[str]]:
    """Groups of two or three sentences.

    Raises:
        ValueError: a group of another size.
    """
    groups = [group.splitlines() for group in path.read_text(encoding="utf-8").strip().split("\n\n")]
    for group in groups:
        if not 2 <= len(group) <= len(COLOURS):
            raise ValueError(f"{path}: a group of {len(group)} sentences, expected 2 to {len(COLOURS)}: {group[:1]}")
    return groups


def plot(axes, points: np.ndarray, sentences: list[str]) -> None:
    """Scatters the views (sentences, views, 2) of one group."""
    for colour, cloud, sentence in zip(COLOURS, points, sentences, strict=False):
        label = sentence if len(sentence) <= 60 else sentence[:57] + "..."
        axes.scatter(cloud[:, 0], cloud[:, 1], s=8, color=colour, label=label)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=8, frameon=False)
    axes.set_xticks([])
    axes.set_yticks([])


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError) as error:
        print(f"visualize.py: {error}", file=sys.stderr)
        sys.exit(2)
