"""Which encoders are packed: every fault of a family is found by the probe, and padding is used instead."""

import packing_families
import pytest
import tiny
import torch
from packing_families import CONFIGS, batch
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    DebertaV2Config,
    EsmConfig,
    GPT2Config,
    MobileBertConfig,
    MPNetConfig,
    RoFormerConfig,
)

from kdmcse_hf.encoding import support
from kdmcse_hf.encoding.embed import embed_sentences
from kdmcse_hf.encoding.kernels import Spans, sdpa_by_length
from kdmcse_hf.encoding.packed import embed_packed
from kdmcse_hf.encoding.packed_attention import PACKED_SDPA
from kdmcse_hf.encoding.pooling import pool
from kdmcse_hf.encoding.support import attention_name, packing_support

_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
_TOKENS = {"vocab_size": 40, "pad_token_id": 1, "max_position_embeddings": 40}
UNPACKED = {
    "mpnet": MPNetConfig(**_SIZES, **_TOKENS),
    "deberta": DebertaV2Config(**_SIZES, **_TOKENS, relative_attention=True, pos_att_type=["p2c", "c2p"]),
    "roformer": RoFormerConfig(**_SIZES, **_TOKENS),
    "esm": EsmConfig(**_SIZES, **_TOKENS, mask_token_id=3),
    "mobilebert": MobileBertConfig(**_SIZES, **_TOKENS, embedding_size=8, intra_bottleneck_size=8),
    "gpt2": GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=40),
}


@pytest.mark.parametrize("family", CONFIGS)
def test_families_that_use_the_interface_are_packed(family):
    encoder = packing_families.encoder(family)
    found = packing_support(encoder)
    assert found.plan is not None, found.reason
    assert encoder.config._attn_implementation == PACKED_SDPA
    assert attention_name(encoder, "cpu") == "sdpa_by_length, packed"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("family", UNPACKED)
def test_other_families_are_encoded_with_padding_and_the_reason_is_kept(family, pooling):
    encoder = AutoModel.from_config(UNPACKED[family]).eval()
    before = encoder.config._attn_implementation
    found = packing_support(encoder)
    assert found.plan is None
    assert found.reason
    assert encoder.config._attn_implementation == before
    assert attention_name(encoder, "cpu") == f"{before}, padded"
    tokens = batch([7, 2, 5, 7, 3])
    states = encoder(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = states[:, 0] if pooling == "cls" else (states * mask).sum(dim=1) / mask.sum(dim=1)
    torch.testing.assert_close(embed_sentences(encoder, **tokens, pooling=pooling), expected)


@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ("mpnet", "0 of 2 layers use the registered attention"),
        ("deberta", "0 of 2 layers use the registered attention"),
        ("roformer", "index out of range"),  # a row is longer than its table of positions
    ],
)
def test_a_family_that_only_claims_to_use_the_interface_is_found_out(family, reason, monkeypatch):
    encoder = AutoModel.from_config(UNPACKED[family])
    encoder.config._attn_implementation = "sdpa"
    monkeypatch.setattr(type(encoder), "is_backend_compatible", classmethod(lambda cls: True))
    monkeypatch.setattr(support.logger, "warning", lambda text: None)
    assert reason in packing_support(encoder).reason


def forget_spans(query, key, value, queries, keys, dropout, scaling, window):
    """Attention over the whole row: sentences see each other."""
    whole = Spans.of((len(key),), key.device)
    return sdpa_by_length(query, key, value, whole, whole, dropout, scaling, None)


def forget_windows(query, key, value, queries, keys, dropout, scaling, window):
    return sdpa_by_length(query, key, value, queries, keys, dropout, scaling, None)


class NeighboursMean(BertModel):
    """A family of the user's own: it honours the interface, and mixes each token with the one before."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.last_hidden_state = output.last_hidden_state + output.last_hidden_state.roll(1, dims=1)
        return output


class Plain(BertModel):
    """A family of the user's own that has nothing to hide."""


def test_a_family_added_by_a_user_is_probed(monkeypatch):
    monkeypatch.setattr(support.logger, "warning", lambda text: None)
    config = BertConfig(**_SIZES, **_TOKENS)
    assert "differ from those of the padded encoder" in packing_support(NeighboursMean(config)).reason
    assert packing_support(Plain(config)).plan is not None


def with_fresh_weights(family):
    """As `from_config` makes them: attention hardly matters, so that faults hardly show."""
    encoder = packing_families.encoder(family)
    encoder.apply(encoder._init_weights)
    for weight in encoder.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.02)
    return encoder


@pytest.mark.parametrize("make", [packing_families.encoder, with_fresh_weights])
@pytest.mark.parametrize(
    ("family", "kernel"), [*((family, forget_spans) for family in CONFIGS), ("modernbert", forget_windows)]
)
def test_the_probe_finds_attention_that_leaves_its_sentence_or_its_window(family, kernel, make, monkeypatch):
    monkeypatch.setattr(support, "kernel_for", lambda device_type, dtype: kernel)
    monkeypatch.setattr(support.logger, "warning", lambda text: None)
    assert "differ from those of the padded encoder" in packing_support(make(family)).reason


@pytest.mark.parametrize("make", [packing_families.encoder, with_fresh_weights])
@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_the_probe_finds_positions_that_count_from_elsewhere(family, make, monkeypatch):
    monkeypatch.setattr(support, "_padding_idx", lambda encoder: None)
    monkeypatch.setattr(support.logger, "warning", lambda text: None)
    assert "differ from those of the padded encoder" in packing_support(make(family)).reason


def test_the_probe_tries_a_sentence_longer_than_the_window():
    encoder = packing_families.encoder("modernbert")
    rows, lengths = support._two_sentences(encoder, None)
    assert rows.shape[1] == lengths[0] > encoder.config.sliding_window + 1
    assert lengths[1] < lengths[0]


def test_an_implementation_that_was_asked_for_is_left_alone():
    encoder = AutoModel.from_config(BertConfig(**_SIZES, **_TOKENS), attn_implementation="eager")
    found = packing_support(encoder)
    assert found.plan is None
    assert "'eager'" in found.reason
    assert encoder.config._attn_implementation == "eager"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("mask", [[[0, 0, 1, 1], [1, 1, 1, 1]], [[1, 1, 1, 0], [0, 0, 0, 0]]])
def test_batches_that_cannot_be_packed_are_encoded_as_they_are(mask, pooling):
    encoder, mask = packing_families.encoder("bert").eval(), torch.tensor(mask)
    ids = torch.tensor([[1, 1, 5, 6], [7, 8, 9, 5]])
    expected = pool(encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask, pooling)
    for lengths in (None, mask.sum(dim=1).tolist()) if not mask[1].any() else (None,):
        found = embed_sentences(encoder, ids, mask, pooling, lengths)
        torch.testing.assert_close(found[mask.any(dim=1)], expected[mask.any(dim=1)])
        assert found.isfinite().all()


def test_an_implementation_that_is_set_later_is_respected_and_never_meets_a_packed_row():
    encoder, tokens = packing_families.encoder("bert").eval(), batch([5, 2, 3])
    plan = packing_support(encoder).plan
    expected = embed_sentences(encoder, **tokens, pooling="mean")
    encoder.set_attn_implementation("eager")
    with pytest.raises(ValueError, match="the attention implementation is 'eager': packed rows need"):
        embed_packed(encoder, plan, sdpa_by_length, tokens["input_ids"], "mean", [0, 2, 1], [5, 3, 2])
    assert "'eager'" in packing_support(encoder).reason
    torch.testing.assert_close(embed_sentences(encoder, **tokens, pooling="mean"), expected)
    encoder.set_attn_implementation("sdpa")
    assert packing_support(encoder).plan is None, "an answer is not taken back in the middle of a run"


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_the_probe_leaves_no_trace(family):
    encoder = packing_families.encoder(family).train()
    embeddings = encoder.get_submodule("embeddings").eval()  # as a user freezes a part
    modes = {name: module.training for name, module in encoder.named_modules()}
    weights = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    packing_support(encoder)
    assert torch.equal(torch.rand(3), expected)
    assert {name: module.training for name, module in encoder.named_modules()} == modes
    assert not embeddings.training
    assert all(torch.equal(weight, weights[name]) for name, weight in encoder.state_dict().items())
    assert all(weight.grad is None for weight in encoder.parameters())


def test_the_probe_runs_once_and_never_in_a_later_step(monkeypatch):
    encoder = packing_families.encoder("bert")
    packing_support(encoder)
    monkeypatch.setattr(support, "_probe", lambda encoder: pytest.fail("probed again"))
    embed_sentences(encoder, **batch([4, 2]), pooling="cls")


def test_an_encoder_without_weights_is_probed_when_it_has_them():
    with torch.device("meta"):
        encoder = AutoModel.from_config(BertConfig(**_SIZES, **_TOKENS))
    assert packing_support(encoder).plan is None
    encoder.to_empty(device="cpu").init_weights()
    encoder.load_state_dict(AutoModel.from_config(encoder.config).state_dict())
    encoder.embeddings.position_ids = torch.arange(40)[None]
    encoder.embeddings.token_type_ids = torch.zeros(1, 40, dtype=torch.long)
    assert packing_support(encoder).plan is not None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_other_dtypes_are_probed_and_stay_what_they_are(dtype):
    encoder = packing_families.encoder("bert").to(dtype)
    weights = {name: weight.data_ptr() for name, weight in encoder.named_parameters()}
    assert packing_support(encoder).plan is not None, packing_support(encoder).reason
    assert encoder.dtype == dtype
    assert {name: weight.data_ptr() for name, weight in encoder.named_parameters()} == weights


def test_the_probe_is_as_sharp_for_half_precision(monkeypatch):
    monkeypatch.setattr(support, "kernel_for", lambda device_type, dtype: forget_windows)
    monkeypatch.setattr(support.logger, "warning", lambda text: None)
    encoder = packing_families.encoder("modernbert").to(torch.bfloat16)
    assert "differ" in packing_support(encoder).reason


def test_under_autocast_the_probe_computes_in_float32():
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert packing_support(packing_families.encoder("bert")).plan is not None


@pytest.mark.parametrize("batch_size", [None, 1, 2, 5, 100])
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_parts_of_a_batch_give_the_gradients_of_the_whole(family, batch_size):
    encoder, tokens = tiny.encoder(family).double().eval(), batch([7, 2, 9, 7, 3])
    embed_sentences(encoder, **tokens, pooling="mean").square().sum().backward()
    expected = {name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None}
    encoder.zero_grad()
    embed_sentences(encoder, **tokens, pooling="mean", batch_size=batch_size).square().sum().backward()
    for name, gradient in expected.items():
        torch.testing.assert_close(encoder.get_parameter(name).grad, gradient)
