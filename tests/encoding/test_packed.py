"""Padding-free encoding: the embeddings and gradients of the padded encoder, with dropout where it belongs."""

import copy
from collections.abc import Callable

import packing_families
import pytest
import torch
from activations import count_kept
from hypothesis import given, settings
from hypothesis import strategies as st
from packing_families import CONFIGS, LAYERS, batch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf.encoding import embed
from kdmcse_hf.encoding.embed import cut_by_tokens, embed_sentences, read_lengths
from kdmcse_hf.encoding.kernels import kernel_for, sdpa_by_length, sdpa_jagged
from kdmcse_hf.encoding.packed_attention import PACKED_SDPA
from kdmcse_hf.encoding.pooling import POOLINGS, pool
from kdmcse_hf.encoding.slots import slots_of
from kdmcse_hf.encoding.support import packing_support

LENGTHS = [7, 2, 19, 7, 1, 12, 19, 30, 3]
BAR = 2e-6


def padded(encoder, tokens: dict, pooling: str) -> torch.Tensor:
    return pool(encoder(**tokens).last_hidden_state, tokens["attention_mask"], pooling)


def packed(encoder, tokens: dict, pooling: str, batch_size: int | None = None) -> torch.Tensor:
    assert packing_support(encoder).plan is not None, packing_support(encoder).reason
    return embed_sentences(encoder, **tokens, pooling=pooling, batch_size=batch_size)


def in_slots(encoder, tokens: dict, pooling: str) -> torch.Tensor:
    """As under `torch.compile`, in a row that is filled up to a fixed length."""
    assert packing_support(encoder).plan is not None, packing_support(encoder).reason
    slots = slots_of(tokens["attention_mask"].sum(dim=1).tolist(), tokens["input_ids"].shape[1])
    return embed_sentences(encoder, **tokens, pooling=pooling, slots=slots)


def with_gradients(encoder, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
    """The embeddings and the gradients of a loss that treats each of their elements differently."""
    encoder.zero_grad()
    weights = torch.linspace(-1, 1, embeddings.numel(), dtype=embeddings.dtype).view_as(embeddings)
    (embeddings * weights).mean().backward()
    gradients = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    return {"embeddings": embeddings.detach(), **gradients}


def assert_within(found: dict, expected: dict, bar: float = BAR) -> None:
    """Equal up to `bar`, and no gradient where the other has none but zeros."""
    for name in found.keys() | expected.keys():
        one, other = (values.get(name, torch.zeros(())) for values in (found, expected))
        assert (one - other).abs().max() <= bar, f"{name} differs by {(one - other).abs().max():.1e}"


@pytest.mark.parametrize("way", [packed, in_slots])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("family", CONFIGS)
def test_embeddings_and_gradients_are_those_of_the_padded_encoder(family, pooling, way):
    encoder, stock = packing_families.encoder(family).eval(), packing_families.encoder(family).eval()
    tokens = batch(LENGTHS)
    expected = with_gradients(stock, padded(stock, tokens, pooling))
    found = with_gradients(encoder, way(encoder, tokens, pooling))
    assert encoder.config._attn_implementation == PACKED_SDPA != stock.config._attn_implementation
    assert_within(found, expected)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_real_encoder_agrees_on_real_sentences(minilm, shared, pooling):
    lines = (shared / "data/text/wiki1m_head.txt").read_text(encoding="utf-8").splitlines()[:24]
    options = {"padding": True, "truncation": True, "max_length": 32, "return_token_type_ids": False}
    tokens = AutoTokenizer.from_pretrained(minilm)(lines, **options, return_tensors="pt")
    encoder, stock = (AutoModel.from_pretrained(minilm).eval() for _ in range(2))
    expected, found = padded(stock, tokens, pooling), packed(encoder, tokens, pooling)
    assert (found - expected).abs().max() <= BAR


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=12),
    batch_size=st.none() | st.integers(1, 13),
    pooling=st.sampled_from(POOLINGS),
    family=st.sampled_from(["bert", "roberta", "modernbert"]),
)
def test_any_lengths_in_any_order_and_any_parts_give_the_same(lengths, batch_size, pooling, family):
    encoder = packing_families.encoder(family).eval()
    tokens = batch(lengths)
    expected = with_gradients(encoder, padded(encoder, tokens, pooling))
    assert_within(with_gradients(encoder, packed(encoder, tokens, pooling, batch_size)), expected, 4e-6)


def test_ids_beyond_a_sentence_do_not_matter():
    encoder, tokens = packing_families.encoder("roberta").eval(), batch(LENGTHS)
    expected = packed(encoder, tokens, "mean")
    tokens["input_ids"] = tokens["input_ids"].where(tokens["attention_mask"].bool(), 1)
    noise = batch(LENGTHS, seed=1)["input_ids"].where(~tokens["attention_mask"].bool(), tokens["input_ids"])
    assert torch.equal(packed(encoder, {**tokens, "input_ids": noise}, "mean"), expected)


def test_a_padding_token_inside_a_sentence_has_the_position_that_the_family_gives_it():
    encoder, tokens = packing_families.encoder("roberta").eval(), batch(LENGTHS)
    tokens["input_ids"][2, 5] = encoder.config.pad_token_id
    assert (packed(encoder, tokens, "mean") - padded(encoder, tokens, "mean")).abs().max() <= BAR


def test_without_packing_the_implementation_is_sdpa_bit_for_bit():
    for family in ("bert", "modernbert"):
        encoder, stock = packing_families.encoder(family).train(), packing_families.encoder(family).train()
        assert packing_support(encoder).plan is not None
        for tokens in (batch(LENGTHS), batch([7, 7])):
            results = []
            for each in (encoder, stock):
                torch.manual_seed(0)
                results.append(with_gradients(each, padded(each, tokens, "mean")))
            assert all(torch.equal(results[0][name], results[1][name]) for name in results[1])


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "albert", "nomic", "eurobert"])
def test_two_training_views_differ_by_attention_dropout_alone(family):
    encoder = packing_families.encoder(family).train()
    dropouts = [module for module in encoder.modules() if isinstance(module, torch.nn.Dropout)]
    tokens = batch([9, 9, 4])
    for module in dropouts:  # the attention's own dropout is given to the kernel as a number
        module.register_forward_hook(lambda module, inputs, output: inputs[0])
    for pooling in POOLINGS:  # with `cls` the last layer may see the first tokens only
        for way in (packed, in_slots):
            views = [way(encoder, tokens, pooling) for _ in range(2)]
            assert (views[0] - views[1]).abs().amax(dim=1).min() > 1e-3, "each sentence has its own masks"
    encoder.eval()
    assert torch.equal(packed(encoder, tokens, "cls"), packed(encoder, tokens, "cls"))


@pytest.mark.parametrize("way", [packed, in_slots])
def test_attention_dropout_is_right_on_average(way):
    """The mean over many masks of one attention layer's output is its output without dropout."""
    encoder = packing_families.encoder("bert", attention_probs_dropout_prob=0.3, hidden_dropout_prob=0.0)
    packing_support(encoder)
    kernel_outputs = []
    attention = encoder.encoder.layer[0].attention.self
    attention.register_forward_hook(lambda module, inputs, output: kernel_outputs.append(output[0].detach()))
    tokens = batch([8, 5])
    way(encoder.eval(), tokens, "mean")
    encoder.train()
    with torch.no_grad():
        for _ in range(500):
            way(encoder, tokens, "mean")
    expected, *samples = kernel_outputs
    samples = torch.stack(samples)
    error = samples.std(dim=0) / len(samples) ** 0.5
    assert ((samples.mean(dim=0) - expected).abs() < 5 * error + 1e-6).all()
    assert samples.std(dim=0).min() > 1e-3


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_replays_the_same_step(family, pooling, reentrant):
    results, tokens = [], batch(LENGTHS)
    for checkpointed in (False, True):
        encoder = packing_families.encoder(family)
        packing_support(encoder)
        if checkpointed:
            encoder.gradient_checkpointing_enable({"use_reentrant": reentrant})
            encoder.enable_input_require_grads()
        torch.manual_seed(0)
        if reentrant and not checkpointed:  # reentrant checkpointing computes the last layer on all tokens
            packing_families.without_first_tokens(encoder)
        results.append(with_gradients(encoder, packed(encoder.train(), tokens, pooling)))
    assert_within(results[1], results[0], 1e-7)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradient_caching_by_tokens_replays_dropout(pooling):
    """Against the same parts with all activations kept: the same masks, so the same gradients."""
    encoder, tokens = packing_families.encoder("bert").train(), batch(LENGTHS)
    packing_support(encoder)
    torch.manual_seed(0)
    cached = with_gradients(encoder, packed(encoder, tokens, pooling, batch_size=3))
    torch.manual_seed(0)
    kept = torch.zeros(len(LENGTHS), 16)
    for part in cut_by_tokens(LENGTHS, 3):
        embeddings = packed(encoder, {name: each[part] for name, each in tokens.items()}, pooling)
        kept = kept.index_put((torch.tensor(part),), embeddings)
    assert_within(cached, with_gradients(encoder, kept), 1e-7)


def test_a_kernel_is_chosen_before_anything_is_to_be_replayed():
    """The check of a kernel that is met for the first time is no part of the step, which has no second check."""
    encoder, tokens = packing_families.encoder("bert").train(), batch(LENGTHS)
    encoder.gradient_checkpointing_enable({"use_reentrant": False})
    packing_support(encoder)
    kernel_for.cache_clear()
    packed(encoder, tokens, "cls", batch_size=3).sum().backward()


def test_parts_hold_about_as_many_tokens_and_their_number_depends_on_that_of_the_sentences_alone():
    parts = cut_by_tokens(LENGTHS, 3)
    assert sorted(row for part in parts for row in part) == list(range(len(LENGTHS)))
    assert [sum(LENGTHS[row] for row in part) for part in parts] == [30, 38, 32]
    lengths = [LENGTHS[row] for part in parts for row in part]
    assert lengths == sorted(LENGTHS, reverse=True)
    assert len(cut_by_tokens([500, 1, 1, 1, 1, 1], 4)) == 4
    assert len(cut_by_tokens([1, 1, 500], 4)) == 3
    assert cut_by_tokens([0, 0], 2) == [[0], [1]]


def test_gradient_caching_holds_the_activations_of_few_tokens():
    encoder, tokens = packing_families.encoder("bert").train(), batch(LENGTHS)
    packing_support(encoder)
    kept = {size: count_kept(lambda size=size: packed(encoder, tokens, "mean", size)) for size in (None, 2)}
    assert kept[2] < kept[None] / 4


def test_without_gradients_the_parts_are_simply_encoded_one_after_another():
    encoder, tokens, widths = packing_families.encoder("bert").eval(), batch(LENGTHS), []
    packing_support(encoder)
    encoder.embeddings.register_forward_hook(lambda module, inputs, output: widths.append(output.shape[:2]))
    with torch.inference_mode():
        packed(encoder, tokens, "mean", batch_size=3)
    assert widths == [(1, 30), (1, 38), (1, 32)]


def test_a_copy_of_an_encoder_is_packed_by_its_own_layers():
    encoder, tokens = packing_families.encoder("bert").eval(), batch(LENGTHS)
    expected = packed(encoder, tokens, "cls")
    duplicate = copy.deepcopy(encoder)
    assert torch.equal(packed(duplicate, tokens, "cls"), expected)
    assert packing_support(duplicate).plan.last_layer is duplicate.encoder.layer[-1]
    with torch.no_grad():
        duplicate.encoder.layer[-1].output.dense.weight.add_(1)
    assert not torch.allclose(packed(duplicate, tokens, "cls"), expected)
    assert torch.equal(packed(encoder, tokens, "cls"), expected)


@pytest.mark.parametrize("kernel", [sdpa_by_length, sdpa_jagged])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_bfloat16_autocast_is_as_near_to_float32_as_the_padded_encoder(family, kernel, monkeypatch):
    """ModernBERT rotates queries and keys in float32 beside values in bfloat16, which jagged tensors do not take."""
    encoder, tokens, chosen = packing_families.encoder(family).eval(), batch([7, 2, 4, 7, 1, 3]), []
    exact = padded(encoder, tokens, "mean")
    packing_support(encoder)
    monkeypatch.setattr(embed, "kernel_for", lambda device_type, dtype: chosen.append(dtype) or kernel)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = packed(encoder, tokens, "mean"), padded(encoder, tokens, "mean")
    assert chosen == [torch.bfloat16]
    assert (ours - exact).norm() < 1.5 * (theirs - exact).norm()


def test_a_saved_model_says_nothing_of_packing(tmp_path):
    encoder = packing_families.encoder("bert")
    packing_support(encoder)
    encoder.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()
    assert AutoModel.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


class NoNumbersRead(TorchDispatchMode):
    """Fails where a number is read from a tensor, for which the host would have to wait on a GPU."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        reads = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
        assert function not in reads, "a number is read from a tensor"
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("family", ["roberta", "modernbert"])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_with_lengths_from_the_collator_nothing_waits_for_the_device(family, pooling, batch_size):
    encoder, tokens = packing_families.encoder(family).train(), batch(LENGTHS)
    packing_support(encoder)
    with NoNumbersRead():
        embed_sentences(encoder, **tokens, pooling=pooling, lengths=LENGTHS, batch_size=batch_size).sum().backward()
        with pytest.raises(AssertionError, match="a number is read"):
            read_lengths(tokens["attention_mask"])


@pytest.mark.parametrize(
    ("mask", "lengths", "on_right"),
    [
        ([[1, 1, 0], [1, 1, 1]], [2, 3], True),
        ([[1, 1, 0], [0, 1, 1]], [2, 3], False),
        ([[1, 0, 1], [1, 1, 1]], [3, 3], False),
        ([[1, 1, 1], [0, 0, 0]], [3, 0], True),
    ],
)
def test_lengths_of_a_mask_say_whether_padding_comes_last(mask, lengths, on_right):
    for dtype in (torch.long, torch.bool, torch.float32):
        assert read_lengths(torch.tensor(mask).to(dtype)) == (lengths, on_right)


def test_lengths_that_are_not_those_of_the_rows_are_refused():
    with pytest.raises(ValueError, match="3 entries for 2 sentences"):
        embed_sentences(packing_families.encoder("bert"), **batch([3, 4]), pooling="cls", lengths=[3, 4, 4])


def compiled_whole() -> tuple[Callable, list]:
    """`embed_sentences`, compiled without a break, and the graphs that it is compiled to as it goes on."""
    graphs: list = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    torch.compiler.reset()
    return torch.compile(embed_sentences, backend=backend, fullgraph=True), graphs


@pytest.mark.parametrize("batch_size", [None, 3])
def test_a_compiled_encoder_gets_whole_batches_and_is_compiled_once(batch_size):
    encoder, (compiled, graphs) = packing_families.encoder("bert").eval(), compiled_whole()
    packing_support(encoder)
    for seed in range(3):
        lengths = [30, *LENGTHS[seed:], *LENGTHS[:seed]]
        tokens = batch(lengths, seed)
        found = compiled(encoder, **tokens, pooling="mean", lengths=lengths, batch_size=batch_size)
        torch.testing.assert_close(found, padded(encoder, tokens, "mean"), rtol=1e-4, atol=1e-5)
    assert len(graphs) == 1


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("family", ["roberta", "modernbert"])
def test_packed_rows_are_compiled_for_one_length_and_for_any(family, pooling):
    encoder, (compiled, graphs) = packing_families.encoder(family).eval(), compiled_whole()
    packing_support(encoder)
    for lengths in ([30, 12, 3, 7], [30, 30, 30, 30], [30, 1, 1, 1], [30, 12, 12, 9]):
        tokens = batch(lengths)
        found = compiled(encoder, **tokens, pooling=pooling, slots=slots_of(lengths, 30))
        torch.testing.assert_close(found, padded(encoder, tokens, pooling), rtol=1e-4, atol=1e-5)
    assert len(graphs) == 2


@given(lengths=st.lists(st.integers(1, 32), min_size=1, max_size=40), wider=st.integers(0, 5))
def test_slots_are_those_of_the_tokens_in_their_order_and_then_none(lengths, wider):
    width = max(lengths) + wider
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    slots, tokens = slots_of(lengths, width), sum(lengths)
    assert slots[:tokens].tolist() == mask.flatten().nonzero()[:, 0].tolist()
    assert set(slots[tokens:].tolist()) <= {mask.numel()}
    assert len(slots) - tokens < mask.numel() / 16 + 1


def test_families_have_as_many_layers_as_the_tests_want():
    """Windows and first tokens need a layer before the last."""
    assert all(packing_families.encoder(name).config.num_hidden_layers == LAYERS for name in CONFIGS)
