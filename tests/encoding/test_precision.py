"""Evaluation in bfloat16: for checks where the hardware has it, for published scores where it is asked for."""

import datasets
import pytest
import tiny
import torch

from kdmcse_hf import KDMCSEModel, KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.encoding import precision
from kdmcse_hf.encoding.precision import evaluation_dtype
from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder


@pytest.mark.parametrize("has_hardware", [True, False])
def test_auto_is_bfloat16_for_checks_on_such_hardware_alone(monkeypatch, has_hardware):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device_type: has_hardware)
    assert evaluation_dtype("auto", "cpu") == torch.float32
    check = evaluation_dtype("auto", "cpu", is_check=True)
    assert check == (torch.bfloat16 if has_hardware else torch.float32)
    for name in ("float32", "bfloat16"):
        assert evaluation_dtype(name, "cpu", is_check=True) == evaluation_dtype(name, "cpu") == getattr(torch, name)


def test_another_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="eval_dtype is 'float16': one of auto, float32, bfloat16 is needed"):
        KDMCSETrainingArguments(str(tmp_path), eval_dtype="float16", use_cpu=True)


def multiplied_in(encoder) -> set[torch.dtype]:
    """The dtypes of what the encoder's layers have multiplied, as it goes on."""
    found: set[torch.dtype] = set()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, inputs, output: found.add(output.dtype))
    return found


def test_the_encoder_computes_in_the_dtype_that_it_was_made_with():
    sentences = tiny.sentences(12)
    exact = SentenceEncoder(tiny.encoder(), tiny.tokenizer(), "mean").encode(sentences)
    model = tiny.encoder()
    encoder = SentenceEncoder(model, tiny.tokenizer(), "mean", eval_dtype="bfloat16")
    found = multiplied_in(model)  # only now: packing is tried in float32
    half = encoder.encode(sentences)
    assert found == {torch.bfloat16}
    assert half.dtype == exact.dtype == "float32"
    assert 0 < abs(half - exact).max() < 0.05
    assert all(weight.dtype == torch.float32 for weight in model.parameters())


@pytest.mark.parametrize("bf16", [False, True])
def test_checks_of_a_run_are_in_bfloat16_and_its_first_and_last_scores_in_float32(tmp_path, monkeypatch, bf16):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device_type: True)
    ours = KDMCSETrainer(
        model=KDMCSEModel.from_encoder(tiny.encoder(), objective="simcse"),
        args=KDMCSETrainingArguments(
            str(tmp_path), per_device_train_batch_size=4, max_steps=2, use_cpu=True, report_to="none", bf16=bf16
        ),
        text_dataset=datasets.Dataset.from_dict({"text": tiny.sentences(40)}),
        eval_dataset=tiny.pairs(),
        processing_class=tiny.tokenizer(),
    )
    found = multiplied_in(ours.model.encoder)
    steps: list[set[torch.dtype]] = []
    evaluate = KDMCSETrainer.evaluation_loop

    def watch(*args, **kwargs):
        found.clear()
        output = evaluate(*args, **kwargs)
        steps.append(set(found))
        return output

    monkeypatch.setattr(KDMCSETrainer, "evaluation_loop", watch)
    ours.train()
    ours.evaluate()
    assert steps == [{torch.float32}, {torch.bfloat16}, {torch.float32}]


def test_sentences_are_tokenised_once_in_the_life_of_a_trainer(tmp_path, monkeypatch):
    calls: list[int] = []
    monkeypatch.setattr(
        "kdmcse_hf.training.judged_trainer.tokenize",
        lambda tokenizer, texts, limit: calls.append(len(texts)) or tokenizer(texts)["input_ids"],
    )
    ours = KDMCSETrainer(
        model=KDMCSEModel.from_encoder(tiny.encoder(), objective="simcse"),
        args=KDMCSETrainingArguments(str(tmp_path), use_cpu=True, report_to="none"),
        text_dataset=datasets.Dataset.from_dict({"text": tiny.sentences(64)}),
        eval_dataset={"one": tiny.pairs(), "two": tiny.pairs()},
        processing_class=tiny.tokenizer(),
    )
    first, second = ours.evaluate(), ours.evaluate()
    assert len(calls) == 2, "of two judges"
    assert first["eval_one_spearman"] == second["eval_one_spearman"]
