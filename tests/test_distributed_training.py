"""The whole model under DDP: W processes with B/W rows have the gradients of one process with B rows."""

import os

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from test_gradient_cache import OBJECTIVES, ROWS, batch, gradients, model
from torch.nn.parallel import DistributedDataParallel


def compare(rank: int, world: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    assert dist.get_world_size() == world
    torch.set_num_threads(1)
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    for name in OBJECTIVES:
        whole = gradients(model(name).eval(), None)
        for mini_batch_size in (None, 1):
            ours = DistributedDataParallel(model(name, gather_across_devices=True).eval(), find_unused_parameters=True)
            loss = ours(**batch(rows), mini_batch_size=mini_batch_size).loss
            loss.backward()
            mean = loss.detach().clone()
            dist.all_reduce(mean)
            case = f"{name}, mini_batch_size {mini_batch_size}"
            torch.testing.assert_close(mean / world, whole["loss"], msg=lambda m, case=case: f"{case}: {m}")
            for part, parameter in ours.module.named_parameters():
                if part in whole:
                    torch.testing.assert_close(
                        parameter.grad, whole[part], rtol=1e-9, atol=1e-12, msg=lambda m, case=case: f"{case}: {m}"
                    )
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [1, 2, 4])
def test_gradients_equal_one_process(world, tmp_path):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    mp.spawn(compare, args=(world, str(tmp_path)), nprocs=world)
