"""Comparing a downloaded model with the local one: stock transformers loads both, and both score sentence pairs."""

import pathlib

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from ..encoding.declared_pooling import find_pooling
from ..encoding.pooling import pool
from ..encoding.token_limit import token_limit
from ..errors import InputError
from ..metrics.sts import correlations, cosine_similarities

# First sentences, second sentences, gold scores. Without gold scores (None) only similarities are compared.
Pairs = tuple[list[str], list[str], list[float] | None]
SAMPLE = 64  # pairs to compare, about
LONGEST = 128  # tokens of a sentence; more would only take longer
TOLERANCE = 1e-5  # of a cosine similarity
_SENTENCES: Pairs = (
    ["A man is playing a guitar.", "Two dogs run across the snow.", "The committee met on Tuesday.", "42"],
    ["Someone plays an instrument.", "A cat sleeps on a sofa.", "On Tuesday there was a meeting.", "forty-two"],
    None,
)


def compare(local: pathlib.Path, arrived: pathlib.Path, pairs: Pairs | None = None) -> str:
    """Score a sample of sentence pairs with both models.

    Args:
        local, arrived: folders of the two repositories. Each is loaded by stock `AutoModel` on the CPU.
        pairs: STS pairs, of which about 64 are taken. Without them a few built-in pairs without gold scores are used.

    Returns:
        What was compared and the largest difference of the similarities, in words for the user; with gold scores also
        the Spearman correlation of the downloaded model.

    Raises:
        ValueError: the similarities differ by more than `TOLERANCE`.
    """
    sentences = pairs or _SENTENCES
    step = max(1, len(sentences[0]) // SAMPLE)
    first, second, gold = [column and list(column)[::step] for column in sentences]
    ours, theirs = (_similarities(repository, first, second) for repository in (local, arrived))  # type: ignore[arg-type]
    difference = np.abs(ours - theirs).max()
    if difference > TOLERANCE:
        raise InputError(f"similarities of the downloaded model differ by {difference:.1g} from the local one's")
    result = f"similarities of {len(first)} pairs differ by {difference:.1g} at most"  # type: ignore[arg-type]
    if gold is None or len(set(gold)) < 2 or np.ptp(theirs) < TOLERANCE:  # a correlation is not defined
        return result
    return f"Spearman {correlations(theirs, np.asarray(gold))['spearman']:.2f} on a sample, {result}"


@torch.inference_mode()
def _similarities(repository: pathlib.Path, first: list[str], second: list[str]) -> np.ndarray:
    # `SentenceEncoder` cannot be used: it waits for all processes, and only the main process verifies a push.
    tokenizer = AutoTokenizer.from_pretrained(repository, local_files_only=True, trust_remote_code=False)
    model = AutoModel.from_pretrained(
        repository, local_files_only=True, dtype=torch.float32, trust_remote_code=False
    ).eval()
    pooling, _ = find_pooling(str(repository), None)
    limit = min(token_limit(model, tokenizer), LONGEST)
    batch = tokenizer([*first, *second], padding=True, truncation=True, max_length=limit, return_tensors="pt")
    embeddings = pool(model(**batch).last_hidden_state, batch["attention_mask"], pooling).numpy()
    return cosine_similarities(embeddings[: len(first)], embeddings[len(first) :])
