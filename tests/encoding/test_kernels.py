"""Attention kernels of packed rows against attention written out, and how one of them is chosen."""

import sys
import types

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdmcse_hf.encoding import kernels
from kdmcse_hf.encoding.kernels import Spans, find_fault, flash_varlen, kernel_for, sdpa_by_length, sdpa_jagged

KERNELS = [sdpa_by_length, sdpa_jagged, flash_varlen]


def written_out(query, key, value, dropout=0.0, scale=None, window=None) -> torch.Tensor:
    """Attention of one sentence, (n, heads, width) queries at its first positions and (l, heads, width) keys."""
    scores = torch.einsum("qhd,khd->hqk", query, key) * (scale or query.shape[-1] ** -0.5)
    if window is not None:
        distance = torch.arange(len(query))[:, None] - torch.arange(len(key))
        scores = scores.masked_fill(distance.abs() >= window, float("-inf"))
    return torch.einsum("hqk,khd->qhd", torch.dropout(scores.softmax(dim=-1), dropout, True), value)


def flash_attn_varlen_func(
    q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal, window_size, **_
):
    """What the documentation of flash-attn says of the function of this name, sentence by sentence."""
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert type(max_seqlen_q) is type(max_seqlen_k) is int
    assert not causal
    outputs, (left, right) = [], window_size
    for start, stop, first, last in zip(
        cu_seqlens_q[:-1], cu_seqlens_q[1:], cu_seqlens_k[:-1], cu_seqlens_k[1:], strict=True
    ):
        assert stop - start <= max_seqlen_q
        assert last - first <= max_seqlen_k
        # Position i attends to j from i + offset - left to i + offset + right: aligned at the end of the sentence.
        offset = (last - first) - (stop - start)
        assert left == right
        assert left < 0 or offset == 0, "a window of fewer queries than keys would lie elsewhere"
        window = None if left < 0 else left + 1
        outputs.append(written_out(q[start:stop], k[first:last], v[first:last], dropout_p, softmax_scale, window))
    return torch.cat(outputs)


@pytest.fixture(autouse=True)
def flash_attn(monkeypatch):
    """The package flash-attn as its documentation describes it: the real one needs a GPU."""
    module = types.SimpleNamespace(flash_attn_varlen_func=flash_attn_varlen_func)
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    kernel_for.cache_clear()
    yield
    kernel_for.cache_clear()


def states(tokens: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(tokens, 2, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    window=st.none() | st.integers(1, 9),
    first_only=st.booleans(),
    scaling=st.none() | st.floats(0.1, 2),
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_values_and_gradients_are_those_of_attention_written_out(kernel, lengths, window, first_only, scaling):
    lengths = sorted(lengths, reverse=True)
    keys = Spans.of(tuple(lengths), torch.device("cpu"))
    queries = Spans.of((1,) * len(lengths), torch.device("cpu")) if first_only else keys
    inputs = [states(sum(spans.lengths), seed).requires_grad_() for seed, spans in enumerate((queries, keys, keys))]
    parts = (each.split(spans.lengths) for each, spans in zip(inputs, (queries, keys, keys), strict=True))
    expected = torch.cat([written_out(*each, scale=scaling, window=window) for each in zip(*parts, strict=True)])
    found = kernel(*inputs, queries, keys, 0.0, scaling, window)
    torch.testing.assert_close(found, expected)
    cotangent = states(len(found), 3)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, cotangent), torch.autograd.grad(expected, inputs, cotangent)
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_take_the_strided_views_of_an_attention_module(kernel):
    spans = Spans.of((5, 3), torch.device("cpu"))
    heads_first = states(8).transpose(0, 1).contiguous().transpose(0, 1)
    assert not heads_first.is_contiguous()
    whole = states(8)
    torch.testing.assert_close(
        kernel(heads_first, whole, whole, spans, spans), kernel(whole, whole, whole, spans, spans)
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernels_that_are_used_pass_the_check(kernel, dtype):
    assert find_fault(kernel, "cpu", dtype) is None


def without_dropout(*arguments, **options):
    return sdpa_by_length(*arguments, **{**options, "dropout": 0.0})


def across_sentences(query, key, value, queries, keys, **options):
    whole = Spans.of((sum(keys.lengths),), query.device)
    return sdpa_by_length(query, key, value, whole, whole, **options)


def without_window(*arguments, **options):
    return sdpa_by_length(*arguments, **{**options, "window": None})


def wrong_for_first_tokens(query, key, value, queries, keys, **options):
    return sdpa_by_length(query, key, value, queries, keys, **options) * (1 if queries is keys else 1.1)


def wrong_gradients(query, key, value, *arguments, **options):
    return sdpa_by_length(query, key.detach(), value, *arguments, **options) + 0 * key.sum()


def unavailable(*arguments, **options):
    raise RuntimeError("no kernel image is available for this device")


@pytest.mark.parametrize(
    ("kernel", "fault"),
    [
        (without_dropout, "it ignores attention dropout"),
        (across_sentences, "its numbers are wrong"),
        (without_window, "its numbers are wrong"),
        (wrong_for_first_tokens, "its numbers are wrong"),
        (wrong_gradients, "its numbers are wrong"),
        (unavailable, "it fails with RuntimeError: no kernel image is available for this device"),
    ],
)
def test_a_kernel_that_would_change_the_method_is_refused_with_the_reason(kernel, fault, monkeypatch):
    assert find_fault(kernel, "cpu", torch.float32) == fault
    told = []
    monkeypatch.setattr(kernels.logger, "warning", told.append)
    monkeypatch.setattr(kernels, "sdpa_by_length", kernel)
    with pytest.raises(RuntimeError, match=fault):
        kernel_for("cpu", torch.float32)
    assert fault in told[0]


@pytest.mark.parametrize(
    ("dtype", "installed", "refused", "expected"),
    [
        (torch.bfloat16, True, (), "flash_varlen"),
        (torch.float32, True, (), "sdpa_jagged"),
        (torch.bfloat16, False, (), "sdpa_jagged"),
        (torch.float16, True, ("flash_varlen",), "sdpa_jagged"),
        (torch.float16, True, ("flash_varlen", "sdpa_jagged"), "sdpa_by_length"),
    ],
)
def test_cuda_gets_the_fastest_kernel_that_passes(dtype, installed, refused, expected, monkeypatch):
    monkeypatch.setattr(kernels, "is_flash_attn_2_available", lambda: installed)
    monkeypatch.setattr(
        kernels, "find_fault", lambda kernel, device, dtype: "refused" if kernel.__name__ in refused else None
    )
    assert kernel_for("cuda", dtype).__name__ == expected


def test_the_check_leaves_the_random_state_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    kernel_for("cpu", torch.float32)
    assert torch.equal(torch.rand(3), expected)


def test_the_check_is_made_in_the_dtype_asked_for_even_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert find_fault(sdpa_by_length, "cpu", torch.float32) is None
