"""The Trainer: schedule, logs, evaluation, best checkpoint, resume."""

import json
import math
import os
import pathlib
import re
import shutil
import signal

import pytest
import tiny
import torch
from scipy.stats import spearmanr
from tiny_trainer import Crash, trainer
from transformers import TrainerCallback

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.encoding import embed, kernels, support
from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.evaluation.sts import sts_scores
from kdmcse_hf.training.checkpoints import ResumeError, newest_whole_checkpoint
from kdmcse_hf.training.checksums import CHECKSUMS_NAME
from kdmcse_hf.training.training_args import checkpoint_distance


class Recorder(TrainerCallback):
    """What the model was given and gave, batch by batch."""

    def __init__(self, model):
        self.batches = []
        model.register_forward_hook(self.record, with_kwargs=True)

    def record(self, model, args, inputs, output):
        if output.loss is not None:
            names = [name for name in ("simcse_loss", "image_loss", "text_loss") if name in output]
            parts = {name: output[name].item() for name in names}
            self.batches.append((inputs, parts))


def test_every_second_step_is_a_caption_step_and_logs_average_the_steps_that_had_the_part(tmp_path):
    ours = trainer(tmp_path)
    recorder = Recorder(ours.model)
    ours.train()
    grounded = ["image_loss" in parts for _, parts in recorder.batches]
    assert grounded == [step % 2 == 0 for step in range(1, 13)], "period is ceil(40 / 24)"
    logs = [entry for entry in ours.state.log_history if "loss" in entry]
    assert len(logs) == 3
    for index, entry in enumerate(logs):
        steps = [parts for _, parts in recorder.batches[4 * index : 4 * index + 4]]
        for name in ("simcse_loss", "image_loss", "text_loss"):
            had = [parts[name] for parts in steps if name in parts]
            assert len(had) == (4 if name == "simcse_loss" else 2)
            assert entry[name] == pytest.approx(sum(had) / len(had), rel=1e-5)


def test_the_ranking_loss_is_logged_for_caption_steps(tmp_path):
    ours = trainer(tmp_path, objective="kdmcse_rank", multimodal_period="4", logging_steps=2, max_steps=4)
    ours.train()
    logged = [entry.get("rank_loss") for entry in ours.state.log_history if "loss" in entry]
    assert logged[0] is None
    assert logged[1] > 0


def test_the_loss_falls(tmp_path):
    ours = trainer(tmp_path, max_steps=40, logging_steps=10, caption_rows=0, objective="simcse")
    ours.train()
    losses = [entry["loss"] for entry in ours.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]


def test_evaluation_has_the_fields_keys_and_the_best_checkpoint_is_restored(tmp_path):
    ours = trainer(tmp_path)
    ours.train()
    history = [entry for entry in ours.state.log_history if "eval_stsb_spearman" in entry]
    assert [entry["step"] for entry in history] == [0, 4, 8, 12]
    assert {"eval_stsb_pearson", "eval_stsb_alignment", "eval_stsb_uniformity"} <= history[0].keys()
    best = max(entry["eval_stsb_spearman"] for entry in history[1:])  # what it starts from is no checkpoint
    assert ours.state.best_metric == best
    assert ours.evaluate()["eval_stsb_spearman"] == pytest.approx(best, abs=1e-9)
    stored = KDMCSEModel.from_pretrained(ours.state.best_model_checkpoint).state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in ours.model.state_dict().items())
    others = {entry["eval_stsb_spearman"] for entry in history} - {best}
    assert others, "with one score only, restoring the best proves nothing"


def test_the_score_is_spearman_of_the_cosines_in_any_order_and_batch_size(tmp_path):
    scores = []
    for size in (1, 5, 128):
        ours = trainer(tmp_path, per_device_eval_batch_size=size)
        scores.append(ours.evaluate()["eval_stsb_spearman"])
    pairs, model = tiny.pairs(), ours.model.eval()
    sides = []
    for name in ("sentence1", "sentence2"):
        tokens = tiny.tokenizer()(list(pairs[name]), padding=True, return_tensors="pt", return_token_type_ids=False)
        sides.append(model.embed(**tokens).detach().double())
    direct = 100 * spearmanr(torch.cosine_similarity(*sides), pairs["score"]).statistic
    assert scores == pytest.approx([direct] * 3, abs=1e-6)


def test_a_run_shorter_than_eval_steps_is_evaluated_at_its_end(tmp_path):
    ours = trainer(tmp_path, max_steps=3, eval_steps=100)
    ours.train()
    assert [entry["step"] for entry in ours.state.log_history if "eval_stsb_spearman" in entry] == [0, 3]
    assert ours.state.best_model_checkpoint.endswith("checkpoint-3")


def test_the_best_is_kept_where_it_falls_between_checkpoints(tmp_path):
    earlier = tmp_path / "out" / "checkpoint-2" / "optimizer.pt"
    earlier.parent.mkdir(parents=True)
    earlier.write_bytes(b"of an earlier run")
    ours = trainer(tmp_path, eval_steps=2, save_steps=8, max_steps=12, callbacks=[Worse()])
    ours.train()
    assert ours.state.best_global_step == 2
    assert ours.state.best_model_checkpoint.endswith("checkpoint-2")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == ["checkpoint-12", "checkpoint-2"], "no lock"
    assert not earlier.exists(), "weights and heads alone"
    stored = KDMCSEModel.from_pretrained(tmp_path / "out" / "checkpoint-2").state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in ours.model.state_dict().items()), "restored"


def test_an_evaluation_that_is_no_new_best_writes_nothing(tmp_path):
    trainer(tmp_path, eval_steps=2, save_steps=8, save_total_limit=0, callbacks=[Worse()]).train()
    assert steps_of_checkpoints(tmp_path / "out") == [2, 8, 12]


def steps_of_checkpoints(output) -> list[int]:
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in output.glob("checkpoint-*"))


class Better(TrainerCallback):
    """Every evaluation is better than the one before; keeps what checkpoints there were at each."""

    def __init__(self):
        self.seen = []

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        metrics["eval_stsb_spearman"] = float(state.global_step)

    def on_save(self, args, state, control, **kwargs):
        self.seen.append(steps_of_checkpoints(pathlib.Path(args.output_dir)))


def test_a_best_stays_until_one_better_and_a_checkpoint_after_it_are_there(tmp_path):
    better = Better()
    trainer(tmp_path, eval_steps=2, save_steps=6, max_steps=14, callbacks=[better]).train()
    # Bests at 2, 4, 8, 10; checkpoints, which are bests too, at 6, 12, 14.
    assert better.seen == [[2], [4], [6], [6, 8], [6, 10], [6, 12], [12, 14]]


def test_a_run_goes_on_from_the_last_checkpoint_and_not_from_a_best_after_it(tmp_path):
    arguments = {"eval_steps": 2, "save_steps": 4, "max_steps": 8}
    whole = trainer(tmp_path / "whole", callbacks=[Better()], **arguments)
    whole.train()
    output = tmp_path / "cut" / "out"
    for step, there, newest in ((2, [2], None), (6, [4, 6], str(output / "checkpoint-4"))):
        with pytest.raises(KeyboardInterrupt):
            trainer(tmp_path / "cut", callbacks=[Better(), Crash(step)], **arguments).train()
        assert steps_of_checkpoints(output) == there
        assert newest_whole_checkpoint(str(output)) == newest
    resumed = trainer(tmp_path / "cut", callbacks=[Better()], **arguments)
    with pytest.raises(ResumeError, match="checkpoint-6 cannot be resumed from: it holds a new best alone"):
        resumed.train(resume_from_checkpoint=str(output / "checkpoint-6"))
    resumed.train(resume_from_checkpoint=True)
    assert steps_of_checkpoints(output) == steps_of_checkpoints(tmp_path / "whole" / "out")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


@pytest.mark.parametrize(
    ("max_steps", "eval_steps", "distance"),
    [(48_000, 125, 4_875), (54_687, 125, 5_000), (12, 4, 4), (3, 100, 100), (2_000, 50, 200), (1_000, 0.01, 100)],
)
def test_ten_checkpoints_a_run_or_one_every_40_evaluations(max_steps, eval_steps, distance):
    assert checkpoint_distance(max_steps, eval_steps) == distance


def test_save_steps_is_a_tenth_of_a_short_run_unless_it_is_given(tmp_path):
    found = []
    for given in ({}, {"save_steps": 8}):
        ours = trainer(tmp_path, eval_steps=1, max_steps=20, **given)
        ours.args.set_checkpoint_distance(20)
        found.append(ours.args.save_steps)
    assert found == [2, 8]


def test_every_sentence_is_scored_whatever_is_dropped_in_training(tmp_path):
    expected = trainer(tmp_path).evaluate()["eval_stsb_spearman"]
    ours = trainer(tmp_path, dataloader_drop_last=True, per_device_eval_batch_size=5)
    assert ours.evaluate()["eval_stsb_spearman"] == pytest.approx(expected, abs=1e-6)


def test_sets_of_pairs_are_not_mixed_up(tmp_path):
    ours = trainer(tmp_path)
    for pairs in (tiny.pairs(), tiny.pairs(10, seed=5)):
        fresh = trainer(tmp_path).evaluate(pairs)["eval_spearman"]
        assert ours.evaluate(pairs)["eval_spearman"] == pytest.approx(fresh, abs=1e-6)


def test_training_and_evaluation_are_packed_by_lengths_of_the_collator(tmp_path, monkeypatch):
    """Lengths read from a mask would make a GPU wait."""
    monkeypatch.setattr(embed, "read_lengths", lambda mask: pytest.fail("the mask is read"))
    monkeypatch.setattr(embed, "_embed_padded", lambda *args: pytest.fail("sentences are padded"))
    ours = trainer(tmp_path, max_steps=4, gradient_accumulation_steps=2, mini_batch_size=3)
    ours.train()
    assert [entry["step"] for entry in ours.state.log_history if "eval_stsb_spearman" in entry] == [0, 4]


def test_evaluation_is_that_of_the_sentence_encoder(tmp_path):
    """One function encodes the sentences of both."""
    ours, pairs = trainer(tmp_path, per_device_eval_batch_size=5), tiny.pairs()
    encoder = SentenceEncoder(ours.model.encoder, tiny.tokenizer(), "cls", batch_size=5)
    sides = encoder.encode_pairs(list(pairs["sentence1"]), list(pairs["sentence2"]))
    expected = sts_scores(*sides, pairs["score"])
    found = ours.evaluate()
    assert {name: found[f"eval_stsb_{name}"] for name in expected} == expected


def test_evaluation_by_epochs_is_once_an_epoch(tmp_path):
    epochs = {"eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 2}
    ours = trainer(tmp_path, **epochs)
    ours.train()
    length = len(ours.get_train_dataloader())
    steps = [entry["step"] for entry in ours.state.log_history if "eval_stsb_spearman" in entry]
    assert steps == [0, length, 2 * length]
    assert [entry["step"] for entry in ours.state.log_history if "loss" in entry][-1] == 2 * length
    again = trainer(tmp_path, **epochs)
    assert again.train(resume_from_checkpoint=True).global_step == 2 * length


def test_a_nan_score_is_an_error_with_its_cause(tmp_path):
    ours = trainer(tmp_path)
    with torch.no_grad():
        ours.model.encoder.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        ours.evaluate()


class Worse(TrainerCallback):
    """Every evaluation is worse than the one before."""

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        metrics["eval_stsb_spearman"] = 50.0 - state.global_step


def test_early_stopping(tmp_path):
    ours = trainer(tmp_path, max_steps=40, early_stopping_patience=2, callbacks=[Worse()])
    ours.train()
    assert ours.state.global_step == 12, "the first evaluation is the best, two more are worse"


def test_accumulation_keeps_one_kind_a_step_and_logs_the_mean(tmp_path):
    ours = trainer(tmp_path, gradient_accumulation_steps=3, max_steps=4, logging_steps=4)
    recorder = Recorder(ours.model)
    ours.train()
    assert ["image_loss" in parts for _, parts in recorder.batches] == [False] * 3 + [True] * 3 + [False] * 3 + [
        True
    ] * 3
    log = next(entry for entry in ours.state.log_history if "loss" in entry)
    weight = ours.model.config.grounding_weight
    totals = [
        p["simcse_loss"] + weight * (p.get("image_loss", 0) + p.get("text_loss", 0)) for _, p in recorder.batches
    ]
    assert log["loss"] == pytest.approx(sum(totals) / 12, rel=1e-4)


class Stop(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            control.should_training_stop = True


@pytest.mark.parametrize("stop", [4, 16])
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, stop):
    """With dropout, in the first epoch and in a later one; the epoch has 14 or so steps."""
    arguments = {"max_steps": 24, "save_total_limit": None}
    whole = trainer(tmp_path / "whole", **arguments)
    whole.train()
    cut = trainer(tmp_path / "cut", callbacks=[Stop(stop)], **arguments)
    cut.train()
    resumed = trainer(tmp_path / "cut", **arguments)
    resumed.train(resume_from_checkpoint=newest_whole_checkpoint(resumed.args.output_dir))
    assert resumed.state.global_step == 24
    assert len(whole.get_train_dataloader()) < 24, "a second epoch is reached"
    last = [KDMCSEModel.from_pretrained(f"{run.args.output_dir}/checkpoint-24") for run in (whole, resumed)]
    for name, value in last[0].state_dict().items():
        assert torch.equal(value, last[1].state_dict()[name]), name


class Terminate(Stop):
    """SIGTERM, as a scheduler sends it."""

    def on_step_end(self, args, state, control, **kwargs):
        pass

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == self.step - 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_no_loss_is_missing_from_the_log_after_sigterm(tmp_path):
    arguments = {"max_steps": 8, "eval_steps": 8, "logging_steps": 8}
    whole = trainer(tmp_path / "whole", **arguments)
    whole.train()
    cut = trainer(tmp_path / "cut", callbacks=[Terminate(6)], **arguments)
    former = signal.getsignal(signal.SIGTERM)
    cut.train()
    assert cut.interrupted
    assert signal.getsignal(signal.SIGTERM) == former
    resumed = trainer(tmp_path / "cut", **arguments)
    resumed.train(resume_from_checkpoint=True)
    assert [entry["step"] for entry in resumed.state.log_history if "loss" in entry] == [6, 8]
    losses = [
        next(entry["train_loss"] for entry in run.state.log_history if "train_loss" in entry)
        for run in (whole, resumed)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_sigterm_leaves_a_checkpoint_though_only_bests_are_saved(tmp_path):
    ours = trainer(tmp_path, save_strategy="best", callbacks=[Worse(), Terminate(8)])
    ours.train()
    assert newest_whole_checkpoint(ours.args.output_dir).endswith("checkpoint-8")


def test_sigterm_ends_no_epoch(tmp_path):
    epochs = {"eval_strategy": "epoch", "save_strategy": "epoch", "max_steps": -1, "num_train_epochs": 1}
    ours = trainer(tmp_path, callbacks=[Terminate(3)], per_device_train_batch_size=8, **epochs)
    ours.train()
    assert newest_whole_checkpoint(ours.args.output_dir).endswith("checkpoint-3")
    assert [e["step"] for e in ours.state.log_history if "eval_stsb_spearman" in e] == [0]


def test_sigterm_is_given_back_when_training_fails(tmp_path):
    ours, former = trainer(tmp_path), signal.getsignal(signal.SIGTERM)
    ours.compute_loss = None
    with pytest.raises(TypeError):
        ours.train()
    assert signal.getsignal(signal.SIGTERM) == former


def test_evaluation_on_start_is_not_repeated_on_resuming(tmp_path):
    trainer(tmp_path, eval_on_start=True, max_steps=4).train()
    ours = trainer(tmp_path, eval_on_start=True, max_steps=8)
    ours.train(resume_from_checkpoint=True)
    assert [entry["step"] for entry in ours.state.log_history if "eval_stsb_spearman" in entry] == [0, 4, 8]


def test_processes_that_would_resume_from_different_checkpoints_do_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr("kdmcse_hf.training.resumable_trainer.gather_object", lambda found: [*found, "checkpoint-4"])
    with pytest.raises(ResumeError, match=r"different checkpoints \(None, checkpoint-4\): .* that all machines see"):
        trainer(tmp_path).train()


def test_resuming_with_another_objective_says_so(tmp_path):
    trainer(tmp_path, max_steps=4).train()
    other = trainer(tmp_path, objective="simcse")
    with pytest.raises(ValueError, match="checkpoint-4 was trained with objective='kdmcse', this run has 'simcse'"):
        other.train(resume_from_checkpoint=newest_whole_checkpoint(other.args.output_dir))


def test_without_evaluation_there_is_no_best_to_restore(tmp_path):
    ours = trainer(tmp_path, eval_strategy="no", max_steps=2)
    ours.train()
    assert ours.state.best_metric is None


def cut(path):
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: cut(path / "trainer_state.json"), "not written to its end"),
        (lambda path: (path / "trainer_state.json").unlink(), "not written to its end"),
        (lambda path: (path / "optimizer.pt").unlink(), "no optimizer state"),
        (lambda path: cut(path / "optimizer.pt"), "optimizer.pt cut short"),
        (lambda path: cut(path / "model.safetensors"), "model.safetensors is no whole safetensors file"),
        (lambda path: cut(path / "kdmcse_heads.safetensors"), "kdmcse_heads.safetensors cut short"),
        (lambda path: (path / "kdmcse_heads.safetensors").unlink(), "kdmcse_heads.safetensors is missing"),
        (lambda path: (path / "rng_state.pth").unlink(), "no random state"),
        (shutil.rmtree, "no such directory"),
    ],
)
def test_only_a_whole_checkpoint_is_resumed_from(tmp_path, damage, fault, monkeypatch):
    trainer(tmp_path, save_total_limit=None, max_steps=8).train()
    output = tmp_path / "out"
    assert newest_whole_checkpoint(str(output)) == str(output / "checkpoint-8")
    warnings = []
    monkeypatch.setattr("kdmcse_hf.training.checkpoints.logger.warning", warnings.append)
    damage(output / "checkpoint-8")
    assert newest_whole_checkpoint(str(output)) == str(output / "checkpoint-4")
    assert fault == "no such directory" or "checkpoint-8 cannot be resumed from and is passed over: " in warnings[0]
    (output / "checkpoint-8" / CHECKSUMS_NAME).unlink(missing_ok=True)  # as earlier versions wrote it
    with pytest.raises(ResumeError, match=f"checkpoint-8 cannot be resumed from: .*{fault}"):
        trainer(tmp_path, max_steps=8).train(resume_from_checkpoint=str(output / "checkpoint-8"))


def test_checkpoints_that_all_lack_their_optimizer_are_an_error_and_not_a_fresh_start(tmp_path):
    trainer(tmp_path, max_steps=4).train()
    (tmp_path / "out" / "checkpoint-4" / "optimizer.pt").unlink()
    with pytest.raises(ResumeError, match="no optimizer state"):
        newest_whole_checkpoint(str(tmp_path / "out"))
    assert newest_whole_checkpoint(str(tmp_path / "nothing")) is None
    with pytest.raises(ResumeError, match="holds no whole checkpoint"):
        trainer(tmp_path / "other").train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed was 42 and is 1: batches come in another order"),
        (
            {"text_rows": 41},
            "text_dataset was '40 rows, SHA-256 .*' and is '41 rows, .*: batches come in another order",
        ),
        ({"caption_rows": 16}, "multimodal_dataset was '24 rows, .*' and is '16 rows"),
        ({"margin": 0.2}, "margin of the objective was 0.125 and is 0.2: another loss is minimised"),
        ({"learning_rate": 1e-3}, "learning_rate was 0.01 and is 0.001: the optimizer goes on with its state"),
        (
            {"per_device_train_batch_size": 2},
            "rows of a step was 4 and is 2: each step from here on sees another batch",
        ),
    ],
)
def test_resuming_with_other_values_says_what_changed_and_what_that_means(tmp_path, change, message, monkeypatch):
    trainer(tmp_path, max_steps=8, eval_steps=4).train()
    shutil.rmtree(tmp_path / "out" / "checkpoint-8")
    warnings = []
    monkeypatch.setattr("kdmcse_hf.training.resumable_trainer.logger.warning", warnings.append)
    trainer(tmp_path, max_steps=8).train(resume_from_checkpoint=True)
    assert not warnings, "nothing changed, nothing said"
    shutil.rmtree(tmp_path / "out" / "checkpoint-8")
    trainer(tmp_path, max_steps=8, **change).train(resume_from_checkpoint=True)
    assert re.search(message, warnings[0]), warnings
    assert "not what either run alone would give" in warnings[0]


def other_kernel(*arguments, **options):
    return kernels.sdpa_by_length(*arguments, **options)


@pytest.mark.parametrize("earlier", [False, True])
def test_resuming_with_another_attention_kernel_says_so(tmp_path, earlier, monkeypatch):
    trainer(tmp_path, max_steps=4).train()
    if earlier:  # by a version that did not record it, nor checksums
        (tmp_path / "out" / "checkpoint-4" / CHECKSUMS_NAME).unlink()
        path = tmp_path / "out" / "checkpoint-4" / "trainer_state.json"
        state = json.loads(path.read_text())
        assert state["stateful_callbacks"]["RunRecord"]["args"]["record"].pop("attention") == "sdpa_by_length, packed"
        path.write_text(json.dumps(state))
    else:
        monkeypatch.setattr(support, "kernel_for", lambda device_type, dtype: other_kernel)
    warnings = []
    monkeypatch.setattr("kdmcse_hf.training.resumable_trainer.logger.warning", warnings.append)
    trainer(tmp_path, max_steps=4).train(resume_from_checkpoint=True)
    was, now = ("sdpa, padded in slices", "sdpa_by_length") if earlier else ("sdpa_by_length, packed", "other_kernel")
    assert f"attention was '{was}' and is '{now}, packed': dropout draws other masks" in warnings[0]


def test_processes_that_would_compute_attention_differently_do_not_start(tmp_path, monkeypatch):
    ours = trainer(tmp_path)
    monkeypatch.setattr("kdmcse_hf.training.trainer.gather_object", lambda names: [*names, "sdpa, padded"])
    with pytest.raises(ValueError, match="sdpa, padded; sdpa_by_length, packed.*cpu_ram_efficient_loading"):
        ours.train()


def test_a_finished_run_that_is_started_again_ends_as_it_did(tmp_path):
    first = trainer(tmp_path)
    first.train()
    again = trainer(tmp_path)
    result = again.train(resume_from_checkpoint=True)
    assert result.global_step == again.state.global_step == 12
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert result.metrics["train_loss"] == next(e["train_loss"] for e in first.state.log_history if "train_loss" in e)


def test_early_stopping_goes_on_counting_after_a_resume(tmp_path):
    arguments = {"max_steps": 40, "early_stopping_patience": 2, "callbacks": [Worse()], "save_total_limit": None}
    whole = trainer(tmp_path / "whole", **arguments)
    whole.train()
    assert whole.state.global_step == 12
    shutil.rmtree(tmp_path / "whole" / "out" / "checkpoint-12")
    resumed = trainer(tmp_path / "whole", **arguments)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 12
    again = trainer(tmp_path / "whole", **arguments)
    again.train(resume_from_checkpoint=True)
    assert again.state.global_step == 12, "it had stopped early, and does not go on"


def test_patience_of_a_resumed_run_is_the_one_given(tmp_path):
    arguments = {"max_steps": 40, "save_total_limit": None}
    trainer(tmp_path, **{**arguments, "max_steps": 4}, callbacks=[Worse()]).train()
    for patience, last in ((1, 8), (3, 16)):  # none before, and another one
        ours = trainer(tmp_path, **arguments, early_stopping_patience=patience, callbacks=[Worse()])
        ours.train(resume_from_checkpoint=True)
        assert ours.state.global_step == last


def test_a_change_is_spoken_of_once(tmp_path, monkeypatch):
    trainer(tmp_path, max_steps=4).train()
    warnings = []
    monkeypatch.setattr("kdmcse_hf.training.resumable_trainer.logger.warning", warnings.append)
    for _ in range(2):
        shutil.rmtree(tmp_path / "out" / "checkpoint-12", ignore_errors=True)
        trainer(tmp_path, learning_rate=1e-3, save_total_limit=None).train(resume_from_checkpoint=True)
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"caption_rows": 0}, "'kdmcse' needs multimodal_dataset"),
        ({"text_rows": 3}, "text_dataset has 3 usable rows, fewer than one batch of 4"),
        ({"caption_rows": 2}, "multimodal_dataset has 2 usable rows"),
        ({"multimodal_period": "often"}, "multimodal_period is 'often'"),
        ({"mini_batch_size": 0}, "mini_batch_size is 0: a whole number of at least 1"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0: a whole number of at least 1"),
        ({"per_device_train_batch_size": 1}, "a batch of 1 row has no negatives"),
        ({"early_stopping_patience": 0}, "early_stopping_patience is 0: a whole number of at least 1"),
        ({"early_stopping_patience": 2, "eval_strategy": "no"}, "early_stopping_patience needs scores"),
        ({"metric_for_best_model": "loss"}, "metric_for_best_model is 'loss': one of eval_stsb_spearman, "),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is 0.1: there are no labels"),
        ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy is 'group_by_length'"),
        ({"remove_unused_columns": True}, "remove_unused_columns is True"),
        ({"bf16_full_eval": True}, "bf16_full_eval is True: it rounds the weights themselves"),
        ({"max_length": 2}, "max_length is 2: beside 2 special tokens a word is needed"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_training(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, **arguments)


def test_sentences_are_cut_at_what_the_encoder_takes(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr("kdmcse_hf.training.checks.logger.warning", warnings.append)
    assert trainer(tmp_path, max_length=32).data_collator.max_length == 32
    assert not warnings
    assert trainer(tmp_path, max_length=33).data_collator.max_length == 32, "the tokenizer's limit"
    assert "sentences are cut at 32 tokens" in warnings[0]


def test_a_text_set_no_larger_than_the_captions_says_that_it_is_never_read(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr("kdmcse_hf.training.checks.logger.warning", warnings.append)
    ours = trainer(tmp_path, text_rows=20)
    assert "the text is never read" in warnings[0]
    assert ours.train_sampler().period == 1
    warnings.clear()
    trainer(tmp_path, text_rows=20, multimodal_period="2")
    assert not warnings


def test_checkpoints_hold_no_pickled_arguments(tmp_path):
    ours = trainer(tmp_path, max_steps=4)
    ours.train()
    assert not list((tmp_path / "out").rglob("training_args.bin"))
    state = json.loads((tmp_path / "out" / "checkpoint-4" / "trainer_state.json").read_text())
    assert math.isfinite(state["best_metric"])
