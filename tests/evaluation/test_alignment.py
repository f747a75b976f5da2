"""Alignment and uniformity against their equations written as loops, and against MCSE's SentEval."""

import json
import math

import numpy as np
import pytest
import torch

from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.evaluation.alignment import alignment, mcse_alignment_uniformity, uniformity
from kdmcse_hf.evaluation.sts import evaluate_sts_task, load_sts_task


def unit(row):
    return row / np.linalg.norm(row)


def test_alignment_is_equation_15():
    first, second = np.random.default_rng(0).normal(size=(2, 5, 3))
    expected = np.mean([np.linalg.norm(unit(a) - unit(b)) ** 2 for a, b in zip(first, second, strict=True)])
    assert alignment(first, second) == pytest.approx(expected)
    assert alignment(torch.tensor(first), torch.tensor(second)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("block", [1, 3, 100])
def test_uniformity_is_equation_16_for_any_block(block, monkeypatch):
    monkeypatch.setattr("kdmcse_hf.evaluation.alignment._BLOCK", block)
    rows = np.random.default_rng(1).normal(size=(7, 4))
    pairs = [(i, j) for i in range(7) for j in range(i)]
    expected = math.log(np.mean([math.exp(-2 * np.linalg.norm(unit(rows[i]) - unit(rows[j])) ** 2) for i, j in pairs]))
    assert uniformity(rows) == pytest.approx(expected)


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="pairs of embeddings"):
        alignment(np.empty((0, 3)), np.empty((0, 3)))
    with pytest.raises(ValueError, match="at least 2"):
        uniformity(np.ones((1, 3)))


def test_mcse_averages_over_batches_and_counts_a_batch_without_positives_as_zero():
    first, second = np.random.default_rng(2).normal(size=(2, 4, 3))
    result = mcse_alignment_uniformity(first, second, np.array([4.0, 1.0, 2.0, 3.0]), batch_size=2)
    parts = [uniformity(np.concatenate([first[part], second[part]])) for part in (slice(0, 2), slice(2, 4))]
    assert result == pytest.approx((alignment(first[:1], second[:1]) / 2, np.mean(parts)))


def test_stsb_dev_of_minilm(shared, minilm):
    """FACTS: 0.267 and -3.841 by the equations, 0.308 and -3.510 by MCSE's SentEval; Spearman as SentEval's."""
    encoder = SentenceEncoder.from_pretrained(str(minilm))
    result = evaluate_sts_task(encoder, "STS-B-dev", load_sts_task("STS-B-dev", str(shared / "data" / "senteval")))
    keys = ("alignment", "uniformity", "mcse_alignment", "mcse_uniformity")
    assert [result[key] for key in keys] == pytest.approx([0.267, -3.841, 0.308, -3.510], abs=6e-4)
    recorded = json.loads((shared / "reference" / "senteval_minilm_mean.json").read_text())["tasks"]["STS-B-dev"]
    assert result["spearman"] == pytest.approx(recorded["spearman"], abs=0.01)
    assert result["n"] == recorded["n"]
