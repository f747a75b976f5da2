"""Whether an encoder can be packed: decided by transformers' flag, by counting attention calls and by one probe."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import logging

from .kernels import Spans, kernel_for
from .last_layer import find_last_layer, keys_and_values, only_first_tokens
from .packed import PackingPlan, encode_row, places_of
from .packed_attention import PACKED_SDPA, Packed
from .slots import sdpa_in_slots

logger = logging.get_logger(__name__)


@dataclass(frozen=True)
class PackingSupport:
    """The answer for one encoder.

    Args:
        plan: how to pack it, or None where it must be encoded with padding.
        reason: why there is no plan; empty if there is one.
    """

    plan: PackingPlan | None
    reason: str = ""


def packing_support(encoder: PreTrainedModel) -> PackingSupport:
    """Whether and how an encoder takes packed rows; tried once and kept with the encoder. It is tried again only if
    somebody has set another attention implementation since.

    Sets the attention implementation `PACKED_SDPA` where packing works, which without packing is transformers' SDPA
    bit for bit. Call it when a model is made: an attention implementation that changes between forward and backward
    breaks gradient checkpointing. What a GPU's kernel computes is checked apart from this (`kernel_for`).
    """
    if encoder.device.type == "meta":
        return PackingSupport(None, "its weights are not there yet")
    found: PackingSupport | None = getattr(encoder, "_packing_support", None)
    if found is None or (found.plan is not None and encoder.config._attn_implementation != PACKED_SDPA):
        found = vars(encoder)["_packing_support"] = _find_support(encoder)
    return found


def attention_name(
    encoder: PreTrainedModel, device_type: str, dtype: torch.dtype | None = None, in_slots: bool = False
) -> str:
    """What computes the attention of an encoder, for cards and run records: `sdpa_by_length, packed`, `sdpa, padded`.

    Args:
        device_type: where the encoder computes, such as `cuda`.
        dtype: that of the computation, where autocast sets it; the dtype of the weights by default.
        in_slots: whether batches come with slots, for `torch.compile`.
    """
    if packing_support(encoder).plan is None:
        return f"{encoder.config._attn_implementation}, padded"
    kernel = sdpa_in_slots if in_slots else kernel_for(device_type, dtype or encoder.dtype)
    return f"{kernel.__name__}, packed"


def _find_support(encoder: PreTrainedModel) -> PackingSupport:
    before = encoder.config._attn_implementation
    if not encoder.is_backend_compatible():
        return PackingSupport(None, "its family does not use transformers' AttentionInterface")
    if before not in ("sdpa", PACKED_SDPA):
        return PackingSupport(None, f"its attention implementation is {before!r}, and packing extends 'sdpa' only")
    encoder.set_attn_implementation("sdpa")
    try:
        return PackingSupport(_probe(encoder))
    except Exception as error:  # whatever an unknown family raises on a packed row, it can be encoded with padding
        encoder.set_attn_implementation("sdpa")
        logger.warning(f"{type(encoder).__name__} is encoded with padding, as packed rows do not work: {error}")
        return PackingSupport(None, f"packed rows do not work: {error}")


@dataclass(frozen=True)
class _Watched(Packed):
    """A packed row that remembers which modules asked it for attention, and checks what first tokens are given."""

    asked: list[nn.Module] = field(default_factory=list)

    def attend(self, module: nn.Module, query, key, value, *args, **kwargs) -> torch.Tensor:
        self.asked.append(module)
        if self.states is not None:
            first = self.states.index_select(1, self.keys.boundaries[:-1])
            for own, given in zip(keys_and_values(module, first, key.shape[-1]), (key, value), strict=True):
                if not _agree(own, given):
                    raise ValueError("the last layer does not project its input as it is to keys and values")
        return super().attend(module, query, key, value, *args, **kwargs)


def _probe(encoder: PreTrainedModel) -> PackingPlan:
    """Encodes two sentences, padded with stock SDPA and packed, in float32, and compares.

    Raises:
        ValueError: the numbers differ, or not every layer uses the registered attention.
    """
    padding_idx = _padding_idx(encoder)
    input_ids, lengths = _two_sentences(encoder, padding_idx)
    packed = _Watched(Spans.of(lengths, encoder.device), kernel_for(encoder.device.type, torch.float32))
    with evaluating(encoder) as encode:
        mask = torch.arange(lengths[0], device=encoder.device) < torch.tensor(lengths, device=encoder.device)[:, None]
        padded = encode(input_ids=input_ids, attention_mask=mask.long()).last_hidden_state
        encoder.set_attn_implementation(PACKED_SDPA)
        tokens = torch.from_numpy(places_of((0, 1), lengths, lengths[0])).to(encoder.device)
        states = encode_row(encode, padding_idx, input_ids, tokens, packed)
        layers = getattr(encoder.config, "num_hidden_layers", None)
        if len(packed.asked) != (layers or 1):
            raise ValueError(f"{len(packed.asked)} of {layers} layers use the registered attention")
        if not _agree(states, padded[mask]):
            raise ValueError("the last hidden states of two sentences differ from those of the padded encoder")
        layer = find_last_layer(encoder, packed.asked)
        if layer is None:
            return PackingPlan(padding_idx)
        if only_first_tokens not in layer._forward_pre_hooks.values():  # a copy of an encoder has its hook already
            layer.register_forward_pre_hook(only_first_tokens, with_kwargs=True)
        try:
            states = encode_row(encode, padding_idx, input_ids, tokens, replace(packed, only_first=True))
        except Exception as error:  # an unknown structure; its hook does nothing for rows that do not ask for it
            logger.info(f"the last layer of {type(encoder).__name__} is computed on all tokens: {error}")
            return PackingPlan(padding_idx)
        return PackingPlan(padding_idx, layer if _agree(states, padded[:, 0]) else None)


def _padding_idx(encoder: PreTrainedModel) -> int | None:
    """The padding index of learned positions that have one, and so count from the next number on (RoBERTa)."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Embedding) and "position" in name and module.padding_idx is not None:
            return module.padding_idx
    return None


def _two_sentences(encoder: PreTrainedModel, padding_idx: int | None) -> tuple[torch.Tensor, tuple[int, int]]:
    """(2, L) ids of a longer and a shorter sentence and their lengths; the longer exceeds a sliding window."""
    config = encoder.config
    longest = max(9, (getattr(config, "sliding_window", None) or 0) + 4)
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and positions > 0:
        longest = min(longest, positions - (0 if padding_idx is None else padding_idx + 1))
    padding = getattr(config, "pad_token_id", None) or 0
    vocabulary = [
        token for token in range(len(cast(nn.Embedding, encoder.get_input_embeddings()).weight)) if token != padding
    ]
    chosen = [vocabulary[-1 - 3 * number % len(vocabulary)] for number in range(longest + longest // 2)]
    first, second = chosen[:longest], chosen[longest:]
    rows = [first, second + [padding] * (longest - len(second))]
    return torch.tensor(rows, device=encoder.device), (longest, len(second))


def _agree(states: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether states (..., width) are equal up to rounding, vector by vector."""
    if states.shape != expected.shape:
        return False
    rounding = torch.finfo(states.dtype).eps
    if states.device.type == "cuda" and torch.backends.cuda.matmul.fp32_precision == "tf32":
        rounding = 2**-11  # TF32
    apart = (states.double() - expected.double()).norm(dim=-1)
    return bool((apart <= 100 * rounding * expected.double().norm(dim=-1)).all())


@contextlib.contextmanager
def evaluating(encoder: PreTrainedModel) -> Iterator[Callable]:
    """The encoder as a function, in float32 and without dropout, gradients and autocast; it stays as it was."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.eval()
    single = {name: weight.float() for name, weight in encoder.named_parameters() if weight.dtype.itemsize < 4}
    try:
        with torch.no_grad(), torch.autocast(encoder.device.type, enabled=False):
            yield lambda **inputs: torch.func.functional_call(encoder, single, kwargs=inputs)
    finally:
        for module, training in modes:
            module.training = training
