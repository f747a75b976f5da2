"""Scores an encoder directory on the demo's STS pairs, with stock transformers alone."""

import csv
from pathlib import Path

import torch
from scipy.stats import spearmanr
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .sts import Pair


def read_pairs(path: Path) -> list[Pair]:
    """The rows (sentence1, sentence2, score) of a tab-separated file with a header."""
    with open(path, encoding="utf-8", newline="") as file:
        return [
            (row["sentence1"], row["sentence2"], float(row["score"])) for row in csv.DictReader(file, delimiter="\t")
        ]


@torch.no_grad()
def embed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, sentences: list[str]) -> torch.Tensor:
    """The last hidden state of [CLS], (sentences, hidden)."""
    model.eval()
    return model(**tokenizer(sentences, padding=True, truncation=True, return_tensors="pt")).last_hidden_state[:, 0]


def cosines(vectors: torch.Tensor) -> torch.Tensor:
    """Cosine of each row of `vectors` (N, D) with each, (N, N)."""
    unit = torch.nn.functional.normalize(vectors, dim=1)
    return unit @ unit.T


def spearman(model_dir: Path, pairs: list[Pair]) -> float:
    """Spearman correlation x100 of the cosines of the encoder in `model_dir` with the scores of `pairs`."""
    model = AutoModel.from_pretrained(model_dir, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=False)
    one, other = (embed(model, tokenizer, [pair[side] for pair in pairs]) for side in (0, 1))
    predicted = torch.nn.functional.cosine_similarity(one, other)
    return 100 * float(spearmanr(predicted, [pair[2] for pair in pairs]).statistic)
