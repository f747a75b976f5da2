"""The whole model under DDP: W processes with B/W rows have the gradients of one process with B rows."""

import gc
import json
import pathlib

import datasets
import pytest
import tiny
import torch
import torch.distributed as dist
import warm
from objective_steps import OBJECTIVES, ROWS, batch, gradients, model
from torch.nn.parallel import DistributedDataParallel

from kdmcse_hf import KDMCSEModel, KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.data.captions import Captions
from kdmcse_hf.encoding.support import packing_support
from kdmcse_hf.training.heads_apart import keep_heads_apart, reduce_head_gradients


def check(rank: int, world: int, name: str, mini_batch_size: int | None) -> None:
    rows = slice(rank * ROWS // world, (rank + 1) * ROWS // world)
    whole = gradients(model(name).eval(), None)
    trained = model(name, gather_across_devices=True).eval()
    keep_heads_apart(trained)
    ours = DistributedDataParallel(trained)
    assert packing_support(ours.module.encoder).plan is not None, "no padding is computed"
    loss = ours(**batch(rows), mini_batch_size=mini_batch_size).loss
    loss.backward()
    reduce_head_gradients(trained)
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    case = f"{name}, mini_batch_size {mini_batch_size}"
    torch.testing.assert_close(mean / world, whole["loss"], msg=lambda m: f"{case}: {m}")
    for part, parameter in ours.module.named_parameters():
        if part in whole:
            torch.testing.assert_close(
                parameter.grad, whole[part], rtol=1e-9, atol=1e-12, msg=lambda m, part=part: f"{case}, {part}: {m}"
            )


def compare(rank: int, world: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    assert dist.get_world_size() == world
    for name in OBJECTIVES:
        for mini_batch_size in (None, 1):
            check(rank, world, name, mini_batch_size)
    # A DDP wrapper that outlives its gloo group ends it with the GIL held, which the group's threads may wait for.
    gc.collect()
    dist.destroy_process_group()


def train(rank: int, world: int, folder: str) -> None:
    """Twelve steps, every second with captions, without dropout; only the first process has the right heads."""
    encoder = tiny.encoder()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    encoder.config.attention_probs_dropout_prob = 0.0
    for layer in encoder.encoder.layer:
        layer.attention.self.dropout.p = 0.0
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM, "gather_across_devices": True}
    encoder.unused = torch.nn.Linear(2, 2)  # as some families have it
    torch.manual_seed(rank)
    trained = KDMCSEModel.from_encoder(encoder, objective="kdmcse", grounding_weight=1.0, **widths)
    trainer = KDMCSETrainer(
        model=trained,
        args=KDMCSETrainingArguments(
            folder,
            per_device_train_batch_size=8 // world,
            gradient_accumulation_steps=2,
            max_steps=12,
            optim="sgd",
            learning_rate=0.1,
            eval_strategy="no",
            save_strategy="no",
            use_cpu=True,
            report_to="none",
        ),
        text_dataset=datasets.Dataset.from_dict({"text": tiny.sentences(64)}),
        multimodal_dataset=Captions(tiny.captions(32), "captions"),
        processing_class=tiny.tokenizer(),
    )
    if world > 1:
        trainer.model_init = lambda: trained  # as a search has it
    trainer.train()
    torch.save(trained.state_dict(), pathlib.Path(folder, f"trained {rank} of {world}.pt"))
    if world > 1:
        dist.destroy_process_group()


def test_the_trainer_gives_two_processes_the_weights_of_one(tmp_path):
    for world in (1, 2):
        warm.run_ranks(train, world, str(tmp_path))
    one, first, second = (
        torch.load(tmp_path / f"trained {name}.pt", weights_only=True) for name in ("0 of 1", "0 of 2", "1 of 2")
    )
    for name, weights in one.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], weights, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def evaluate(rank: int, world: int, folder: str) -> None:
    trainer = KDMCSETrainer(
        model=model("paper").float(),
        args=KDMCSETrainingArguments(folder, use_cpu=True, per_device_eval_batch_size=7, report_to="none"),
        text_dataset=datasets.Dataset.from_dict({"text": tiny.sentences(64)}),
        multimodal_dataset=Captions(tiny.captions(32), "captions"),
        eval_dataset=tiny.pairs(),
        processing_class=tiny.tokenizer(),
    )
    assert trainer.args.world_size == world
    pathlib.Path(folder, f"{rank} of {world}.json").write_text(json.dumps(trainer.evaluate()))
    if world > 1:
        dist.destroy_process_group()


def test_evaluation_gives_all_processes_the_score_of_one(tmp_path):
    for world in (1, 2):
        warm.run_ranks(evaluate, world, str(tmp_path))
    one, first, second = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("0 of 1", "0 of 2", "1 of 2")
    )
    for name in ("spearman", "pearson", "alignment", "uniformity"):
        name = f"eval_stsb_{name}"
        assert first[name] == second[name] == pytest.approx(one[name], rel=1e-4), name


@pytest.mark.parametrize("world", [1, 2, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_gradients_equal_one_process(world, tmp_path):
    warm.run_ranks(compare, world, str(tmp_path))
