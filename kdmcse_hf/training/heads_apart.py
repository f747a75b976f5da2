"""Projection heads outside DDP. A step leaves some of them without gradient, those of captions on a text step, for
which DDP would search in every step, and a GPU be waited for (`find_unused_parameters`)."""

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ..model.modeling_kdmcse import KDMCSEModel


def keep_heads_apart(model: KDMCSEModel) -> None:
    """Have DDP leave the objective's parameters alone; all processes get those of the first, as DDP's have."""
    names = [name for name, _ in model.named_parameters() if name.startswith("objective.")]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)
    for parameter in model.objective.parameters():
        dist.broadcast(parameter.data, src=0)


def reduce_head_gradients(model: KDMCSEModel) -> None:
    """Put the mean over the processes in place of the gradients of the heads that the step has used.

    These are the same on all processes, as all take steps of one kind. One message carries all.
    """
    gradients = [weight.grad for weight in model.objective.parameters() if weight.grad is not None]
    if not gradients:
        return
    joined = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(joined)
    parts = (joined / dist.get_world_size()).split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(own) for part, own in zip(parts, gradients, strict=True)])
