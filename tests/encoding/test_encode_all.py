"""All sentences of a set to vectors: batches of equally many tokens, in the order of the sentences."""

import numpy as np
import pytest
import torch

from kdmcse_hf.encoding.encode_all import encode_all

LENGTHS = [4, 40, 5, 4, 9, 1, 6, 6, 5, 4]
SENTENCES = [list(range(100 * row, 100 * row + length)) for row, length in enumerate(LENGTHS)]


class Embed:
    """First id and number of tokens of each sentence; keeps the batches it was given."""

    def __init__(self):
        self.batches = []

    def __call__(self, input_ids, attention_mask, lengths):
        self.batches.append(lengths)
        assert attention_mask.sum(dim=1).tolist() == lengths
        assert torch.equal(attention_mask, attention_mask.sort(dim=1, descending=True).values), "padding comes last"
        assert (input_ids[attention_mask == 0] == 7).all()
        return torch.stack([input_ids[:, 0], attention_mask.sum(dim=1)], dim=1)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_embeddings_come_in_the_order_of_the_sentences(batch_size):
    found = encode_all(Embed(), SENTENCES, 7, batch_size)
    assert found.dtype == np.float32
    assert found.tolist() == [[100 * row, length] for row, length in enumerate(LENGTHS)]


def test_batches_hold_about_as_many_tokens_the_longest_sentences_first():
    embed = Embed()
    encode_all(embed, SENTENCES, 7, batch_size=5)
    assert embed.batches == [[40], [9, 6, 6, 5, 5, 4, 4, 4, 1]]


def test_a_sentence_without_tokens_has_its_place():
    assert encode_all(lambda input_ids, **_: input_ids[:, :1], [[5], [], [6, 7]], 7, 2)[:, 0].tolist() == [5, 7, 6]
