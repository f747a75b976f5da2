"""Negatives of all processes: W processes with B/W rows give losses and gradients of one process with B rows."""

import pytest
import torch
import torch.distributed as dist
import warm

from kdmcse_hf.losses import ArcCSELoss, KDMCSELoss, ListNetLoss, MCSELoss, SimCSELoss

ROWS, WIDTH = 8, 5
NAMES = ("s1", "s2", "image", "text", "teacher_image", "teacher_text")


def grounded(loss: KDMCSELoss, x: dict[str, torch.Tensor], image_ids: torch.Tensor) -> torch.Tensor:
    return sum(loss(**x, image_ids=image_ids).values())


OBJECTIVES = {
    "simcse": lambda x, ids, g: SimCSELoss(margin=0.15, gather_across_devices=g)(x["s1"], x["s2"], ids),
    "arccse": lambda x, ids, g: ArcCSELoss(gather_across_devices=g)(x["s1"], x["s2"], ids),
    "mcse": lambda x, ids, g: MCSELoss(gather_across_devices=g)(x["s1"], x["s2"], x["image"], ids),
    "paper": lambda x, ids, g: sum(
        KDMCSELoss.paper(threshold=0.3, gather_across_devices=g)(**x, image_ids=ids).values()
    ),
    "released": lambda x, ids, g: sum(
        KDMCSELoss.released(threshold=1.0, gather_across_devices=g)(**x, image_ids=ids).values()
    ),
    "listnet": lambda x, ids, g: ListNetLoss(gather_across_devices=g)(x["s1"], x["s2"], x["teacher_text"]),
}


def inputs() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = {name: torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64) for name in NAMES}
    return x, torch.tensor([0, 1, 2, 3, 4, 0, 1, 7])  # images shared across the two halves


def loss_and_gradients(objective: str, rows: slice, gather: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    x, ids = inputs()
    leaves = {name: value[rows].requires_grad_(not name.startswith("teacher")) for name, value in x.items()}
    used = [value for value in leaves.values() if value.requires_grad]
    loss = OBJECTIVES[objective](leaves, ids[rows], gather)
    return loss.detach(), torch.autograd.grad(loss, used, allow_unused=True, materialize_grads=True)


def compare(rank: int, world: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    for objective in OBJECTIVES:
        loss, gradients = loss_and_gradients(objective, rows, gather=True)
        whole_loss, whole_gradients = loss_and_gradients(objective, slice(None), gather=False)
        dist.all_reduce(loss)
        torch.testing.assert_close(loss / world, whole_loss, msg=lambda m, o=objective: f"{o}: {m}")
        for part, whole in zip(gradients, whole_gradients, strict=True):
            torch.testing.assert_close(part / world, whole[rows], msg=lambda m, o=objective: f"{o}: {m}")
        local, _ = loss_and_gradients(objective, rows, gather=False)
        dist.all_reduce(local)
        assert local / world < whole_loss, f"{objective}: negatives of other processes make no difference here"
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 4])
def test_losses_and_gradients_equal_one_process(world, tmp_path):
    warm.run_ranks(compare, world, str(tmp_path))
