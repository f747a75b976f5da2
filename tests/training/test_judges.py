"""What judges a run: a score before training, captions held out where there are no pairs; no effect on training."""

import numpy as np
import pytest
import tiny
import torch

from kdmcse_hf import KDMCSEModel, KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.data.captions import Captions
from kdmcse_hf.data.held_out import HeldOutCaptions, hold_out
from kdmcse_hf.training import judges

WIDTHS = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}


def captions(rows: int = 120, images: int = 60) -> Captions:
    return Captions(tiny.captions(rows, images=images), "tiny")


def trainer(folder, source, objective="kdmcse", pairs=None, **arguments) -> KDMCSETrainer:
    values = {"per_device_train_batch_size": 8, "max_steps": 4, "eval_steps": 2, "use_cpu": True, "report_to": "none"}
    widths = WIDTHS if objective == "kdmcse" else {}
    return KDMCSETrainer(
        model=KDMCSEModel.from_encoder(tiny.encoder(), objective=objective, **widths),
        args=KDMCSETrainingArguments(str(folder), **{**values, **arguments}),
        multimodal_dataset=source,
        eval_dataset=pairs,
        processing_class=tiny.tokenizer(),
    )


def test_held_out_images_are_not_trained_on_and_the_split_is_the_seeds():
    source = captions()
    kept, held = hold_out(source, seed=3)
    assert held.num_images == 3
    assert not set(kept.image_ids) & set(held.image_ids)
    assert sorted([*kept.indices, *held.indices]) == list(range(120))
    again = hold_out(source, seed=3)[1]
    assert np.array_equal(again.indices, held.indices)
    assert not np.array_equal(hold_out(source, seed=4)[1].indices, held.indices)
    assert kept.rows([0, 5])["text"] == source.rows(kept.indices[[0, 5]])["text"]


def test_without_pairs_the_best_is_chosen_by_retrieval(tmp_path):
    ours = trainer(tmp_path, captions())
    ours.train()
    steps = [entry["step"] for entry in ours.state.log_history if "eval_retrieval_mrr" in entry]
    assert steps == [0, 2, 4]
    best = max(e["eval_retrieval_mrr"] for e in ours.state.log_history if e.get("step") and "eval_retrieval_mrr" in e)
    assert ours.state.best_metric == best
    ours.create_model_card()
    card = (tmp_path / "README.md").read_text()
    assert "| held-out captions (6) | before training | this model |" in card
    assert "recall_at_1" in card


def test_the_score_is_that_of_the_captions_among_themselves(tmp_path):
    ours = trainer(tmp_path, captions())
    judge = ours.eval_dataset["retrieval"]
    found = ours.evaluate()
    tokens = ours.processing_class(judge.texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        embeddings = ours.model.eval().embed(tokens["input_ids"], tokens["attention_mask"]).numpy()
    expected = judges.retrieval_scores(embeddings, judge.image_ids)
    assert found["eval_retrieval_mrr"] == pytest.approx(expected["mrr"], rel=1e-4)


def test_one_caption_an_image_is_compared_with_the_images_through_the_heads(tmp_path):
    ours = trainer(tmp_path, captions(60, 60))
    judge = ours.eval_dataset["retrieval"]
    assert not judge.has_several_captions_an_image
    found = ours.evaluate()
    assert 0 < found["eval_retrieval_mrr"] <= 100


def test_one_caption_an_image_and_an_objective_of_text_alone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="compares captions with no images"):
        trainer(tmp_path, captions(60, 60), objective="simcse")


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="too few to judge a run by"):
        trainer(tmp_path, captions(40, 20))


def test_text_alone_without_pairs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing to judge the run by"):
        trainer(tmp_path, None, objective="simcse")


def test_scoring_changes_nothing_in_training(tmp_path):
    """However often it is scored, before training or not, the same weights come out."""
    found = []
    for name, values in (("often", {"eval_steps": 1}), ("seldom", {"eval_steps": 4, "eval_on_start": False})):
        ours = trainer(tmp_path / name, captions(), pairs=tiny.pairs(), load_best_model_at_end=False, **values)
        ours.train()
        found.append(ours.model.state_dict())
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_held_out_captions_have_their_image_each():
    judge = HeldOutCaptions(captions(6, 3))
    assert judge.texts == captions(6, 3).rows(range(6))["text"]
    assert judge.image_ids.tolist() == [0, 1, 2, 0, 1, 2]
    assert judge.image_embeds.shape == (3, tiny.IMAGE_DIM)
