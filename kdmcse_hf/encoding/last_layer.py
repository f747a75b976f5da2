"""The last layer on the first token of each sentence alone, where only these tokens are wanted (`cls` pooling)."""

import torch
from torch import nn

# Names that attention modules give to their linear projections of keys and values.
_PROJECTIONS = (("key", "value"), ("k_lin", "v_lin"), ("k_proj", "v_proj"))


def keys_and_values(attention: nn.Module, states: torch.Tensor, width: int) -> list[torch.Tensor]:
    """Projects states (1, T, hidden) to keys and values (1, heads, T, width) with the projections of a module."""
    names = next(pair for pair in _PROJECTIONS if all(hasattr(attention, name) for name in pair))
    return [getattr(attention, name)(states).unflatten(-1, (-1, width)).transpose(1, 2) for name in names]


def find_last_layer(encoder: nn.Module, attentions: list[nn.Module]) -> nn.Module | None:
    """The last layer of an encoder, if its structure allows to compute it on the first tokens only.

    That takes an attention module of its own with separate projections of keys and values, in an entry of a
    `ModuleList`. Whether the result is right is for the caller to try: it is where the attention projects the input
    of the layer as it is, and everything else in the layer works on each token by itself.

    Args:
        attentions: the attention modules of the encoder in the order of their calls.
    """
    last = attentions[-1]
    projects = any(all(isinstance(getattr(last, name, None), nn.Module) for name in pair) for pair in _PROJECTIONS)
    if not projects or attentions.count(last) > 1:
        return None
    lists = [child for child in encoder.modules() if isinstance(child, nn.ModuleList)]
    layers = [layer for entries in lists for layer in entries if last in layer.modules()]
    return layers[-1] if layers else None  # the innermost


def only_first_tokens(layer: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    """Forward pre-hook of the last layer: the first tokens go through it, all tokens are left for keys and values."""
    packed = kwargs.get("packed")
    if packed is None or not packed.only_first:
        return None
    states = args[0]  # (1, T, hidden)
    first = states.index_select(1, packed.keys.boundaries[:-1])
    return (first, *args[1:]), {**kwargs, "packed": packed.asked_by_first(states)}


def loses_gradients(layer: nn.Module) -> bool:
    """Whether gradient checkpointing of a layer is of the reentrant kind, which gives keyword arguments none."""
    if not (layer.training and getattr(layer, "gradient_checkpointing", False)):
        return False
    return getattr(layer._gradient_checkpointing_func, "keywords", {}).get("use_reentrant", True)
