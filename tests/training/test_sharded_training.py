"""FSDP as far as CPUs allow: sharded weights train as whole ones, and what is saved is the same repository.

Accelerate shards on GPUs only, so the model is sharded here by torch's own `fully_shard`, which it calls.
"""

import torch
import torch.distributed as dist
import warm
from objective_steps import ROWS, batch, model
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard

from kdmcse_hf import KDMCSEModel


def step(trained, rows: slice, mini_batch_size: int | None) -> None:
    optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], lr=0.1)
    trained(**batch(rows), mini_batch_size=mini_batch_size).loss.backward()
    optimizer.step()


def compare(rank: int, world: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    mesh = dist.device_mesh.init_device_mesh("cpu", (world,))
    for mini_batch_size in (None, 1):
        whole = model("paper").eval()
        step(whole, slice(None), None)
        sharded = model("paper", gather_across_devices=True).eval()
        for layer in sharded.encoder.encoder.layer:
            fully_shard(layer, mesh=mesh)
        fully_shard(sharded, mesh=mesh)
        step(sharded, rows, mini_batch_size)
        state = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        directory = f"{folder}/{mini_batch_size}"
        sharded.save_pretrained(directory, is_main_process=rank == 0, state_dict=state)
        dist.barrier()
        loaded = KDMCSEModel.from_pretrained(directory).state_dict()
        assert loaded.keys() == whole.state_dict().keys()
        for name, value in whole.state_dict().items():  # the files hold float32
            torch.testing.assert_close(
                loaded[name].double(), value, rtol=1e-6, atol=1e-8, msg=lambda m, name=name: f"{name}: {m}"
            )
    dist.destroy_process_group()


def test_sharded_weights_train_and_save_as_whole_ones(tmp_path):
    warm.run_ranks(compare, 2, str(tmp_path))
