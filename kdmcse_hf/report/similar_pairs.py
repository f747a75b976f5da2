"""The most and the least similar pairs of sentences, as a trained model sees them."""

import itertools
from dataclasses import dataclass, field

import numpy as np
from safetensors import SafetensorError
from scipy.stats import rankdata

from ..card.recipe import portable
from ..encoding.sentence_encoder import SentenceEncoder
from ..evaluation.sts import load_stsb
from ..metrics.sts import cosine_similarities
from .run_directory import Run

# Everyday captions and sentences, with paraphrases, near misses and unrelated ones among their 66 pairs.
DEFAULT_SENTENCES = (
    "A dog is running across the beach.",
    "A puppy races along the shore.",
    "A cat is sleeping on the sofa.",
    "Two children are playing football in the park.",
    "Kids kick a ball around on the grass.",
    "A woman is slicing an onion.",
    "A woman is not slicing an onion.",
    "A chef chops vegetables in the kitchen.",
    "A man is playing the guitar on stage.",
    "The stock market fell sharply on Monday.",
    "Share prices dropped at the start of the week.",
    "The train to Berlin was an hour late.",
)
CHEAP_BYTES = 600_000_000  # weights of an encoder of base size: loaded and run in seconds on a CPU


@dataclass
class Pair:
    """Two sentences with the cosine of their embeddings and, where people scored them, that score."""

    cosine: float
    first: str
    second: str
    score: float | None = None


@dataclass
class SimilarPairs:
    """Pairs by similarity: `highest` and `lowest`, and `farthest`, those whose ranks disagree most with the scores.

    `note` says why there are none, or where the sentences come from.
    """

    note: str
    highest: list[Pair] = field(default_factory=list)
    lowest: list[Pair] = field(default_factory=list)
    farthest: list[Pair] = field(default_factory=list)


def similar_pairs(run: Run, pairs_file: str | None = None, shown: int = 5) -> SimilarPairs:
    """Encode pairs with the model in the directory of a run, by stock `AutoModel`.

    Args:
        run: whose directory holds the model.
        pairs_file: csv, tsv or json of `sentence1`, `sentence2`, `score`, or a SentEval directory; without it all
            pairs of `DEFAULT_SENTENCES`, and only where the encoder is no larger than `CHEAP_BYTES`.
        shown: pairs of each kind.

    Raises:
        FileNotFoundError, ValueError: of the pairs, as `load_stsb`.
    """
    given = load_stsb(pairs_file) if pairs_file else None
    weights = sum(path.stat().st_size for path in run.directory.glob("model*.safetensors"))
    if not weights:
        return SimilarPairs("No model.safetensors is in the directory, so that no sentence can be encoded.")
    if given is None and weights > CHEAP_BYTES:
        return SimilarPairs("The encoder is larger than base size, and no pairs to encode were given.")
    if given is None:
        firsts, seconds = zip(*itertools.combinations(DEFAULT_SENTENCES, 2), strict=True)
        scores, note = [None] * len(firsts), f"Of all {len(firsts)} pairs of {len(DEFAULT_SENTENCES)} sentences"
    else:
        firsts, seconds, scores = (given[name][:] for name in ("sentence1", "sentence2", "score"))
        note = f"Of the {len(firsts)} given pairs"
    try:
        encoder = SentenceEncoder.from_pretrained(str(run.directory))
        cosines = cosine_similarities(*encoder.encode_pairs(list(firsts), list(seconds)))
    except (
        OSError,
        ValueError,
        RuntimeError,
        SafetensorError,
    ) as error:  # a page without this section is better than no page
        return SimilarPairs(f"The model in the directory cannot be used: {portable(f' {error}').strip()}")
    pairs = [Pair(float(cosine), *rest) for cosine, *rest in zip(cosines, firsts, seconds, scores, strict=True)]
    return _sorted(pairs, f"{note}, {encoder.pooling} pooling.", min(shown, len(pairs) // 2 or 1))


def _sorted(pairs: list[Pair], note: str, shown: int) -> SimilarPairs:
    by_cosine = sorted(pairs, key=lambda pair: -pair.cosine)
    found = SimilarPairs(note, by_cosine[:shown], by_cosine[: -shown - 1 : -1])
    if pairs[0].score is not None:
        ranks = [rankdata([getattr(pair, name) for pair in pairs]) for name in ("cosine", "score")]
        found.farthest = [pairs[place] for place in np.argsort(-np.abs(ranks[0] - ranks[1]), kind="stable")[:shown]]
    return found
