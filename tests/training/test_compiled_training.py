"""Training under `torch.compile`: few graphs without breaks, no padding, the numbers of eager steps, exact resume."""

import datasets
import pytest
import tiny
import torch
from torch._dynamo.utils import counters

from kdmcse_hf import KDMCSEModel, KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.data.captions import Captions
from kdmcse_hf.encoding.support import packing_support

ROWS = 8


def trainer(folder, dropout: float, **arguments) -> KDMCSETrainer:
    encoder = tiny.encoder()
    encoder.config.hidden_dropout_prob = encoder.config.attention_probs_dropout_prob = dropout
    encoder = type(encoder)(encoder.config)
    torch.manual_seed(0)
    encoder.init_weights()
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}
    model = KDMCSEModel.from_encoder(encoder, objective="kdmcse", grounding_weight=1.0, **widths)
    assert packing_support(model.encoder).plan is not None
    values = {"eval_strategy": "no", "save_steps": 6, "max_steps": 12, "logging_steps": 3, "learning_rate": 1e-3}
    return KDMCSETrainer(
        model=model,
        args=KDMCSETrainingArguments(
            str(folder), per_device_train_batch_size=ROWS, use_cpu=True, disable_tqdm=True, **values, **arguments
        ),
        text_dataset=datasets.Dataset.from_dict({"text": tiny.sentences(80)}),
        multimodal_dataset=Captions(tiny.captions(40, images=8), "captions"),
        processing_class=tiny.tokenizer(),
        max_length=12,
    )


def compiled(folder, dropout: float = 0.1, **arguments) -> KDMCSETrainer:
    return trainer(folder, dropout, torch_compile=True, torch_compile_backend="aot_eager", **arguments)


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def losses(ours: KDMCSETrainer) -> list[float]:
    return [entry["loss"] for entry in ours.state.log_history if "loss" in entry]


def test_a_run_compiles_at_most_four_graphs_without_breaks_and_trains_as_an_eager_one(tmp_path):
    ours = compiled(tmp_path / "compiled", dropout=0.0)
    assert ours._attention_name() == "sdpa_in_slots, packed"
    ours.train()
    stats = dict(counters["stats"])
    assert stats["unique_graphs"] <= 4, "of text and of captions, for one length of the row and for any"
    assert not counters["graph_break"]
    eager = trainer(tmp_path / "eager", dropout=0.0)
    eager.train()
    assert losses(ours) == pytest.approx(losses(eager), rel=1e-5)
    for (name, weight), expected in zip(ours.model.named_parameters(), eager.model.parameters(), strict=True):
        torch.testing.assert_close(weight, expected, rtol=1e-3, atol=2e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_no_padding_is_computed_but_what_fills_the_row(tmp_path):
    ours = compiled(tmp_path)
    batch = next(iter(ours.get_train_dataloader()))
    tokens, padded = int(batch["attention_mask"].sum()), batch["input_ids"].numel()
    assert batch["input_ids"].shape == (ROWS, 2, 12)
    assert tokens <= len(batch["slots"]) < tokens + padded / 16
    assert "lengths" not in batch


def test_a_compiled_run_goes_on_to_the_bit(tmp_path):
    whole = compiled(tmp_path / "whole")
    whole.train()
    torch.compiler.reset()
    first = compiled(tmp_path / "first")
    first.train()
    torch.compiler.reset()
    resumed = compiled(tmp_path / "resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "first" / "checkpoint-6"))
    assert losses(resumed) == losses(whole)
    for (name, weight), expected in zip(resumed.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(weight, expected), name


@pytest.mark.exhaustive
def test_gradient_caching_under_compile_is_padded_and_says_so(tmp_path):
    ours = compiled(tmp_path, mini_batch_size=4)
    assert not ours.data_collator.static
    ours.train()
    assert ours.state.global_step == 12
