"""Processes and their tensors: three functions, each a no-op in a single process."""

import torch
import torch.distributed as dist


def rank() -> int:
    """Number of this process, 0 where nothing is distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes, 1 where nothing is distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather_with_gradient(rows: torch.Tensor) -> torch.Tensor:
    """Concatenate the rows of all processes in rank order; gradients flow back to the process that owns a row.

    Local rows held against the gathered columns need no world-size factor: averaged over the processes, as DDP does,
    the gradients are those of one process with the whole batch.

    Args:
        rows: (B, ...), the same B on every process.

    Returns:
        (B * world_size, ...)
    """
    return rows if world_size() == 1 else _GatherRows.apply(rows)


class _GatherRows(torch.autograd.Function):
    """All-gather whose backward sums what every process sent to a row; torch's own one is deprecated."""

    @staticmethod
    def forward(ctx, rows):
        ctx.rows = len(rows)
        gathered = [torch.empty_like(rows) for _ in range(world_size())]
        dist.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        return gradient[rank() * ctx.rows : (rank() + 1) * ctx.rows]
