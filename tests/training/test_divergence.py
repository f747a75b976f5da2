"""Runs whose loss or weights are not finite end at once, say why, and save nothing."""

import pytest
import torch
from tiny_trainer import trainer
from transformers import TrainerCallback

from kdmcse_hf import KDMCSETrainer
from kdmcse_hf.training.divergence import DivergedError, LossParts


def make_trainer(tmp_path, callback: TrainerCallback, **arguments) -> KDMCSETrainer:
    return trainer(tmp_path, callbacks=[callback], save_steps=4, **arguments)


class Spoil(TrainerCallback):
    """Makes a head's weight infinite before a step."""

    def __init__(self, step: int, head: str = "image_head"):
        self.step, self.head = step, head

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if state.global_step + 1 == self.step:
            with torch.no_grad():
                getattr(model.objective, self.head)[0].weight.fill_(float("nan"))


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr("kdmcse_hf.training.judged_trainer.logger.warning", found.append)
    return found


def checkpoints(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*"))


def test_a_loss_that_is_not_finite_ends_the_run_at_its_step_and_names_the_part(tmp_path, warnings):
    ours = make_trainer(tmp_path, Spoil(6))
    ours.train()
    assert ours.diverged
    assert ours.state.global_step == 6
    assert "image_loss of step 6 is nan" in warnings[0]
    assert "learning_rate" in warnings[0]
    assert len(warnings) == 1
    assert checkpoints(tmp_path) == ["checkpoint-4"]
    assert all(weight.isfinite().all() for weight in ours.model.parameters()), "the best model was restored"


@pytest.mark.parametrize("logging_strategy", ["steps", "no"])
def test_where_reading_means_waiting_the_run_ends_at_the_next_log_or_checkpoint(
    tmp_path, warnings, monkeypatch, logging_strategy
):
    monkeypatch.setattr(KDMCSETrainer, "reads_at_once", False)
    ours = make_trainer(tmp_path, Spoil(6), logging_strategy=logging_strategy)
    ours.train()
    assert ours.state.global_step == 8
    assert "image_loss of step 6 is nan" in warnings[0]
    assert checkpoints(tmp_path) == ["checkpoint-4"]


def test_weights_that_only_the_last_step_has_spoilt_are_not_saved(tmp_path, warnings):
    class SpoilAtEnd(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            if state.global_step + 1 == state.max_steps:
                next(model.encoder.parameters()).data[0, 0] = float("inf")

    ours = make_trainer(tmp_path, SpoilAtEnd(), eval_strategy="no")
    ours.train()
    assert ours.diverged
    assert "a weight is not finite" in warnings[0]
    assert checkpoints(tmp_path) == ["checkpoint-4", "checkpoint-8"]
    with pytest.raises(DivergedError, match="a weight is not finite"):
        ours.save_model()
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_new_start_of_train_is_no_longer_diverged(tmp_path, warnings):
    ours = make_trainer(tmp_path, Spoil(6))
    ours.train()
    ours.pop_callback(Spoil)
    ours.train(resume_from_checkpoint=True)
    assert not ours.diverged
    assert ours.state.global_step == 12


def test_the_first_part_that_is_not_finite_is_found_and_means_are_over_the_batches_that_had_it():
    parts = LossParts()
    parts.add(1, {"simcse_loss": torch.tensor(1.0)})
    parts.add(2, {"simcse_loss": torch.tensor(3.0), "image_loss": torch.tensor(5.0)})
    assert parts.first_not_finite() is None
    assert {name: mean.item() for name, mean in parts.means().items()} == {"simcse_loss": 2.0, "image_loss": 5.0}
    parts.add(3, {"simcse_loss": torch.tensor(float("inf")), "image_loss": torch.tensor(float("inf"))})
    parts.add(4, {"simcse_loss": torch.tensor(float("nan"))})
    parts.add(3, {"loss": torch.tensor(float("inf"))})
    assert parts.first_not_finite() == (3, "image_loss", float("inf"))
    parts.add(5, {"loss": torch.tensor(float("nan")), "simcse_loss": torch.tensor(1.0)})
    step, name, _ = parts.first_not_finite()
    assert (step, name) == (5, "loss"), "of an objective that names no part"
    parts.clear()
    assert parts.first_not_finite() is None
