"""Attention within each sentence of one row of packed sentences: three kernels, and the one that a device gets."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.utils import is_flash_attn_2_available, logging

logger = logging.get_logger(__name__)


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copies a CPU tensor to a device; a GPU takes it from pinned memory, for which nothing waits."""
    return (values.pin_memory() if device.type == "cuda" else values).to(device, non_blocking=True)


@dataclass(frozen=True)
class Spans:
    """Where the sentences of a packed row lie. Lengths are Python numbers, so that no kernel has to wait for a GPU.

    Args:
        lengths: tokens of each of the N sentences, the longest first.
        boundaries: (N + 1,) int32 on the device of the tokens; sentence i is at boundaries[i] to boundaries[i + 1].
        runs: (sentences, tokens of each) of sentences of equal length, which lie side by side.
    """

    lengths: tuple[int, ...]
    boundaries: torch.Tensor
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, lengths: tuple[int, ...], device: torch.device) -> "Spans":
        """The spans of sentences of these lengths, given in descending order."""
        boundaries = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32)
        runs = tuple((len(list(equal)), length) for length, equal in itertools.groupby(lengths))
        return cls(lengths, to_device(boundaries, device), runs)

    def firsts(self) -> "Spans":
        """Those of the first token of each sentence alone."""
        return Spans.of((1,) * len(self.lengths), self.boundaries.device)

    def split(self, states: torch.Tensor) -> list[torch.Tensor]:
        """(T, ...) states -> views (sentences, tokens of each, ...), one for each run."""
        parts = states.split([count * length for count, length in self.runs])
        return [part.unflatten(0, run) for part, run in zip(parts, self.runs, strict=True)]


# A kernel takes queries (T of `queries`, heads, width), keys and values (T of `keys`, heads, width), both spans, the
# dropout probability, the scaling (None: 1 / sqrt(width)) and a window (None, or position i attends to j where
# |i - j| < window), and returns (T of `queries`, heads, width). Queries are all tokens, or the first of each sentence.
Kernel = Callable[..., torch.Tensor]


def sdpa_by_length(
    query, key, value, queries: Spans, keys: Spans, dropout=0.0, scaling=None, window=None
) -> torch.Tensor:
    """One `scaled_dot_product_attention` without padding for all sentences of a length: any device, any dtype."""
    outputs = []
    parts = zip(_by_run(query, queries, keys), keys.split(key), keys.split(value), strict=True)
    for part in parts:
        q, k, v = (states.transpose(1, 2) for states in part)  # (sentences, heads, tokens, width)
        mask = None
        if window is not None and k.shape[2] > window:
            positions = torch.arange(k.shape[2], device=k.device)
            mask = (positions[: q.shape[2], None] - positions).abs() < window
        output = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)
        outputs.append(output.transpose(1, 2).flatten(0, 1))
    return torch.cat(outputs)


def _by_run(query: torch.Tensor, queries: Spans, keys: Spans) -> list[torch.Tensor]:
    """The queries of each run of keys: first tokens alone are all of length 1, and so would be a single run."""
    if queries is keys:
        return queries.split(query)
    return [part[:, None] for part in query.split([count for count, _ in keys.runs])]


def sdpa_jagged(
    query, key, value, queries: Spans, keys: Spans, dropout=0.0, scaling=None, window=None
) -> torch.Tensor:
    """`scaled_dot_product_attention` on jagged tensors: PyTorch's own flash or memory-efficient kernel on CUDA."""
    if window is not None and keys.lengths[0] > window:  # jagged tensors take no mask
        return sdpa_by_length(query, key, value, queries, keys, dropout, scaling, window)
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(
            states.contiguous(), spans.boundaries, min_seqlen=spans.lengths[-1], max_seqlen=spans.lengths[0]
        ).transpose(1, 2)
        for states, spans in ((query, queries), (key, keys), (value, keys))
    )
    return scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling).transpose(1, 2).values()


def flash_varlen(
    query, key, value, queries: Spans, keys: Spans, dropout=0.0, scaling=None, window=None
) -> torch.Tensor:
    """`flash_attn_varlen_func` of the package flash-attn: float16 and bfloat16 on CUDA."""
    from flash_attn import flash_attn_varlen_func  # an optional package

    sides = (-1, -1)
    if window is not None and keys.lengths[0] > window:
        if queries is not keys:  # flash-attn aligns a window of fewer queries than keys with the end of the sentence
            return sdpa_by_length(query, key, value, queries, keys, dropout, scaling, window)
        sides = (window - 1, window - 1)
    return flash_attn_varlen_func(
        query,
        key,
        value,
        cu_seqlens_q=queries.boundaries,
        cu_seqlens_k=keys.boundaries,
        max_seqlen_q=queries.lengths[0],
        max_seqlen_k=keys.lengths[0],
        dropout_p=dropout,
        softmax_scale=scaling,
        causal=False,
        window_size=sides,
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )


@functools.cache
def kernel_for(device_type: str, dtype: torch.dtype) -> Kernel:
    """The fastest kernel for a device and a dtype, among those that compute the right numbers and apply dropout.

    SimCSE lives on dropout in the attention too, so a kernel that leaves it out is refused, with a warning that says
    so. The check is made once for each device and dtype, and leaves the random state as it was.

    Raises:
        RuntimeError: not even PyTorch's scaled_dot_product_attention passes the check.
    """
    kernels = [sdpa_by_length]
    if device_type == "cuda":
        kernels.insert(0, sdpa_jagged)
        if dtype in (torch.float16, torch.bfloat16) and is_flash_attn_2_available():
            kernels.insert(0, flash_varlen)
    for kernel in kernels:
        fault = find_fault(kernel, device_type, dtype)
        if fault is None:
            return kernel
        logger.warning(f"the attention kernel {kernel.__name__} is not used on {device_type} in {dtype}: {fault}")
    raise RuntimeError(f"scaled_dot_product_attention cannot be used on {device_type} in {dtype}: {fault}")


def find_fault(kernel: Kernel, device_type: str, dtype: torch.dtype) -> str | None:
    """What is wrong with a kernel on three short sentences, or None: its numbers, its dropout, or that it fails.

    Values and gradients are compared, of all tokens and of the first ones, with and without a window.
    """
    device = torch.device(device_type)
    keys, firsts = Spans.of((9, 5, 5), device), Spans.of((1, 1, 1), device)
    indices = [torch.accelerator.current_device_index()] if device_type != "cpu" else []
    with (
        torch.random.fork_rng(indices, device_type=device_type if indices else "cuda"),
        torch.autocast(device_type, enabled=False),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        torch.manual_seed(0)
        states = torch.randn(3, sum(keys.lengths), 2, 64, device=device, dtype=dtype)
        try:
            for queries, window in itertools.product((keys, firsts), (None, 3)):
                found, expected = (_with_gradients(each, states, queries, keys, window) for each in (kernel, _plainly))
                if not all(_near(*both) for both in zip(found, expected, strict=True)):
                    return "its numbers are wrong"
            dropped = kernel(states[0], states[1], torch.ones_like(states[2]), keys, keys, dropout=0.5)
        except Exception as error:  # whatever a kernel raises, the next one is tried
            return f"it fails with {type(error).__name__}: {error}"
    # Each row of attention probabilities sums to 1, and so does its product with ones unless some are dropped.
    return "it ignores attention dropout" if (dropped.float() - 1).abs().max() < 0.1 else None


def _with_gradients(kernel: Kernel, states: torch.Tensor, queries: Spans, keys: Spans, window: int | None) -> list:
    """The output of a kernel, and the gradients of queries, keys and values."""
    chosen = states[0] if queries is keys else states[0].index_select(0, keys.boundaries[:-1])
    inputs = [each.detach().clone().requires_grad_() for each in (chosen, states[1], states[2])]
    output = kernel(*inputs, queries, keys, window=window)
    return [output, *torch.autograd.grad(output, inputs, chosen.to(output.dtype))]


def _plainly(query, key, value, queries: Spans, keys: Spans, window: int | None) -> torch.Tensor:
    """Attention as the textbook writes it, in float32, over all tokens with those of other sentences masked."""
    lengths = torch.tensor(keys.lengths, device=query.device)
    sentence = torch.arange(len(lengths), device=query.device).repeat_interleave(lengths)
    place = torch.arange(len(key), device=query.device)
    asking = place if queries is keys else keys.boundaries[:-1].long()
    allowed = sentence[asking][:, None] == sentence
    if window is not None:
        allowed &= (asking[:, None] - place).abs() < window
    scores = torch.einsum("qhd,khd->hqk", query.float(), key.float()) / query.shape[-1] ** 0.5
    probabilities = scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)
    return torch.einsum("hqk,khd->qhd", probabilities, value.float())


def _near(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Equal up to the rounding of the dtype of `found`, or of TF32, in which a GPU may multiply float32."""
    rounding = 4 * max(torch.finfo(found.dtype).eps, 2**-10)
    return found.shape == expected.shape and bool((found - expected).norm() <= rounding * expected.norm())
