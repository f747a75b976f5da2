"""What the demo measures: scores of held-out sentence pairs and the similarities of three sentences."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf.report.html import figure_text

from .score import cosines, embed, read_pairs, spearman
from .steps import TITLES

EXAMPLES = (
    "A tiny crimson orb is to the left of a big box.",
    "A large crate is to the right of a little red ball.",
    "A tiny azure fish is to the left of a big box.",
)
EXAMPLE_PAIRS = {
    "1 and 2: the same scene, other words": (0, 1),
    "1 and 3: nearly the same words, another thing": (0, 2),
    "2 and 3: another scene, other words": (1, 2),
}


@dataclass
class Result:
    """One encoder: what it is called, Spearman x100 on the pairs that chose its checkpoint and on held-out ones, and
    the cosine of each pair in `EXAMPLE_PAIRS`."""

    name: str
    dev: float
    test: float
    similarities: list[float]


def measure(world: Path, output_dir: Path) -> list[Result]:
    """The encoder before training, after SimCSE and after KDMCSE, with stock transformers alone."""
    encoders = {"before training": world / "student"}
    encoders |= {title: output_dir / objective for objective, title in TITLES.items()}
    dev, test = read_pairs(world / "sts-dev.tsv"), read_pairs(world / "sts-test.tsv")
    return [
        Result(name, spearman(directory, dev), spearman(directory, test), _similarities(directory))
        for name, directory in encoders.items()
    ]


def _similarities(directory: Path) -> list[float]:
    matrix = cosines(example_embeddings(directory))
    return [matrix[pair].item() for pair in EXAMPLE_PAIRS.values()]


def example_embeddings(directory: Path) -> torch.Tensor:
    """The embeddings (3, hidden) of `EXAMPLES` by stock `AutoModel`."""
    model = AutoModel.from_pretrained(directory, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    return embed(model, tokenizer, list(EXAMPLES))


def difference_to_sentence_transformers(directory: Path) -> float | None:
    """The largest difference of a cosine of `EXAMPLES` between SentenceTransformer and AutoModel; None without it."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        return None
    encoder = SentenceTransformer(str(directory), device="cpu", trust_remote_code=False)
    vectors = encoder.encode(list(EXAMPLES), convert_to_tensor=True, show_progress_bar=False)
    return (cosines(vectors) - cosines(example_embeddings(directory))).abs().max().item()


def tables(results: list[Result]) -> tuple[list[list[str]], list[list[str]]]:
    """The scores and the similarities, as rows of text under a header."""
    scores = [["Spearman x100", "development pairs", "held-out pairs"]]
    scores += [[each.name, figure_text(each.dev, 1), figure_text(each.test, 1)] for each in results]
    similarities = [["Cosine of sentences", *(each.name for each in results)]]
    for number, pair in enumerate(EXAMPLE_PAIRS):
        similarities.append([pair, *(figure_text(each.similarities[number]) for each in results)])
    return scores, similarities
