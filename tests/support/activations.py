"""How much a forward pass keeps for its backward pass."""

from collections.abc import Callable

import torch


def count_kept(forward: Callable[[], object]) -> int:
    """The numbers in all tensors that a call keeps for the backward pass."""
    total = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        forward()
    return total
