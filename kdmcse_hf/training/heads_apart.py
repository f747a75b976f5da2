"""Projection heads outside DDP. A step leaves some of them without gradient, those of captions on a text step, for
which DDP would search in every step, and a GPU be waited for (`find_unused_parameters`)."""

from typing import cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

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


def unused_weights(encoder: PreTrainedModel) -> list[str]:
    """Names of trainable weights that the embeddings of two sentences do not depend on, such as those of a pooler."""
    names, weights = zip(*[pair for pair in encoder.named_parameters() if pair[1].requires_grad], strict=True)
    vocabulary = cast(nn.Embedding, encoder.get_input_embeddings()).num_embeddings
    ids = torch.tensor([[1, 2, 3], [3, 2, 1]], device=encoder.device) % vocabulary
    with torch.enable_grad():
        states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        gradients = torch.autograd.grad(states.sum(), weights, allow_unused=True)
    return [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]
