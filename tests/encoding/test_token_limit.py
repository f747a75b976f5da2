"""How long a sentence an encoder takes: one answer everywhere, and one that runs."""

import pytest
import tiny
import torch

from kdmcse_hf.encoding.pooling import pool
from kdmcse_hf.encoding.token_limit import token_limit


@pytest.mark.parametrize(
    ("family", "expected"), [("bert", 40), ("roberta", 38), ("xlm-roberta", 38), ("mpnet", 38), ("modernbert", 40)]
)
def test_the_limit_is_the_longest_sentence_that_runs(family, expected):
    encoder, tokenizer = tiny.encoder(family).eval(), tiny.tokenizer()
    tokenizer.model_max_length = int(1e30)  # what tokenizers without a limit declare
    assert token_limit(encoder, tokenizer) == expected
    encoder(input_ids=torch.full((1, expected), 5), attention_mask=torch.ones(1, expected))
    if family != "modernbert":  # rotary positions have no end
        with pytest.raises((IndexError, RuntimeError)):
            encoder(input_ids=torch.full((1, expected + 1), 5), attention_mask=torch.ones(1, expected + 1))


def test_a_tokenizer_that_declares_less_has_the_last_word():
    assert token_limit(tiny.encoder("bert"), tiny.tokenizer()) == 32


def test_the_mean_leaves_padding_out_and_of_nothing_is_zero():
    tokens = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    assert pool(tokens, mask, "mean").tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert pool(tokens, mask, "cls").tolist() == [[0.0, 1.0], [6.0, 7.0]]
