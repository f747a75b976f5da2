"""The last layer on first tokens only: where the structure allows it, with the same numbers and less work."""

import packing_families
import pytest
import torch
from packing_families import CONFIGS, FIRST_TOKENS, batch
from transformers import AutoModel, RobertaPreLayerNormConfig

from kdmcse_hf.encoding import support
from kdmcse_hf.encoding.embed import embed_sentences
from kdmcse_hf.encoding.last_layer import loses_gradients
from kdmcse_hf.encoding.support import packing_support

LENGTHS = [7, 2, 12, 7, 1]


@pytest.mark.parametrize("family", CONFIGS)
def test_it_is_used_where_the_structure_allows_it(family):
    """ALBERT's layers are one and the same, ModernBERT, NomicBERT and EuroBERT rotate keys or normalise before."""
    assert (packing_support(packing_families.encoder(family)).plan.last_layer is not None) == (family in FIRST_TOKENS)


@pytest.mark.parametrize("family", FIRST_TOKENS)
def test_only_the_first_tokens_go_through_the_last_layer(family):
    encoder = packing_families.encoder(family).eval()
    plan, rows, tokens = packing_support(encoder).plan, {}, batch(LENGTHS)
    for name, module in plan.last_layer.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: rows.setdefault(name, []).append(output.shape[1])
            )
    embeddings = embed_sentences(encoder, **tokens, pooling="cls")
    assert embeddings.shape == (len(LENGTHS), 16)
    for name, counts in rows.items():
        projects = name.endswith(("key", "value", "k_lin", "v_lin"))
        # The module projects the first tokens, the kernel all of them.
        assert counts == ([len(LENGTHS), sum(LENGTHS)] if projects else [len(LENGTHS)]), name
    rows.clear()
    embed_sentences(encoder, **tokens, pooling="mean")
    assert all(counts == [sum(LENGTHS)] for counts in rows.values())


@pytest.mark.parametrize("family", FIRST_TOKENS)
def test_it_is_the_layer_on_all_tokens_in_values_and_gradients(family):
    encoder, tokens, results = packing_families.encoder(family).double().eval(), batch(LENGTHS), []
    assert packing_support(encoder).plan.last_layer is not None
    for on_all_tokens in (False, True):
        encoder.zero_grad()
        if on_all_tokens:
            packing_families.without_first_tokens(encoder)
        embeddings = embed_sentences(encoder, **tokens, pooling="cls")
        (embeddings * torch.linspace(-1, 1, embeddings.numel()).view_as(embeddings)).sum().backward()
        gradients = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
        results.append([embeddings.detach(), *gradients])
    torch.testing.assert_close(*results)


def test_a_layer_that_normalises_before_its_attention_is_left_alone():
    config = RobertaPreLayerNormConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=40, pad_token_id=1
    )
    plan = packing_support(AutoModel.from_config(config)).plan  # fresh weights: its norms change hardly anything
    assert plan is not None
    assert plan.last_layer is None


def test_a_last_layer_of_a_wrong_result_is_left_alone(monkeypatch):
    agreed = support._agree
    monkeypatch.setattr(
        support, "_agree", lambda states, expected: states.dim() > 2 or agreed(states * 1.001, expected)
    )
    found = packing_support(packing_families.encoder("bert"))
    assert found.plan is None, "the same comparison decides on packing itself"
    tokens = 9 + 4  # of the two sentences of the probe, which are repeated
    monkeypatch.setattr(
        support,
        "_agree",
        lambda states, expected: (states.dim() > 2 or len(expected) % tokens == 0) and agreed(states, expected),
    )
    found = packing_support(packing_families.encoder("bert"))
    assert found.plan is not None
    assert found.plan.last_layer is None


@pytest.mark.parametrize(
    ("reentrant", "training", "expected"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_reentrant_checkpointing_would_lose_gradients_and_is_seen(reentrant, training, expected):
    encoder = packing_families.encoder("bert").train(training)
    assert not loses_gradients(encoder.encoder.layer[-1])
    encoder.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert loses_gradients(encoder.encoder.layer[-1]) is expected


def test_layers_that_were_cut_off_afterwards_are_noticed():
    encoder, tokens = packing_families.encoder("bert").eval(), batch(LENGTHS)
    packing_support(encoder)
    encoder.encoder.layer = encoder.encoder.layer[:-1]
    with pytest.raises(RuntimeError, match="not the one that was found when the model was made"):
        embed_sentences(encoder, **tokens, pooling="cls")
