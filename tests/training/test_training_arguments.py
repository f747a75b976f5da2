"""Values of `KDMCSETrainingArguments` that cannot be trained with are refused when it is made, by name."""

import dataclasses
import importlib.util

import pytest
from transformers import HfArgumentParser, TrainingArguments

from kdmcse_hf import KDMCSETrainingArguments
from kdmcse_hf.errors import InputError
from kdmcse_hf.training.inherited_arguments import INHERITED

NAN, INFINITE = float("nan"), float("inf")


def make(**values) -> KDMCSETrainingArguments:
    return KDMCSETrainingArguments(**{"output_dir": "unused", "use_cpu": True, "report_to": "none", **values})


REFUSED = {
    "learning_rate": (0, -1e-5, NAN, INFINITE, "fast", None),
    "adam_beta1": (1, -0.1, NAN, 2),
    "adam_beta2": (1, -0.1, NAN, 2),
    "adam_epsilon": (0, -1e-8, NAN),
    "weight_decay": (-0.1, NAN, INFINITE),
    "max_grad_norm": (-1, NAN, INFINITE),
    "num_train_epochs": (0, -3, NAN),
    "max_steps": (0, -5, 1.5),
    "warmup_steps": (-1, NAN),
    "gradient_accumulation_steps": (0, -1, 1.5, None),
    "per_device_train_batch_size": (0, -8, 2.5),
    "per_device_eval_batch_size": (0, -8, 2.5),
    "seed": (-1, 2**32, 1.5, None),
    "data_seed": (-1, 2**32),
    "dataloader_num_workers": (-1, 10**9),
    "dataloader_prefetch_factor": (0, -1),
    "logging_steps": (0, -1, 2.5, NAN, INFINITE),
    "eval_steps": (0, -1, 2.5, NAN),
    "save_steps": (0, -1, 2.5, NAN),
    "save_total_limit": (-1, 0.5),
    "eval_delay": (-1, NAN),
    "mini_batch_size": (0, -1, 0.5),
    "early_stopping_patience": (0, -1),
    "push_timeout": (0, -1, NAN),
    "lr_scheduler_type": ("linea", ""),
    "optim": ("adam", ""),
    "eval_strategy": ("always",),
    "save_strategy": ("always",),
    "logging_strategy": ("always",),
    "hub_strategy": ("always",),
    "metric_for_best_model": ("",),
    "output_dir": ("", " "),
    "report_to": ("wandbb", ["tensorboard", "wandbb"]),
    "optim_args": ("beta", "beta=1=2"),
    "lr_scheduler_kwargs": ('{"a"', "[1]", "x", {"foo": 1}, {"num_cycles": "many"}, 3),
    "accelerator_config": ('{"a"', {"foo": 1}),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, found in REFUSED.items() for value in found])
def test_a_value_out_of_range_is_refused_by_name(name, value):
    """One message; `optim_args` are those of an optimizer that takes some."""
    others = {"optim_args": {"optim": "sgd"}, "lr_scheduler_kwargs": {"lr_scheduler_type": "cosine"}}.get(name, {})
    with pytest.raises(InputError) as found:
        make(**others, **{name: value})
    assert name in str(found.value) or (name == "accelerator_config" and "foo" in str(found.value))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("cosine_with_min_lr", {"min_lr": NAN}),
        ("cosine_with_min_lr", '{"min_lr": NaN}'),
        ("polynomial", {"lr_end": 1}),
        ("polynomial", {"lr_end": -1}),
        ("polynomial", {"power": "two"}),
        ("cosine_with_min_lr", {}),
        ("warmup_stable_decay", {}),
    ],
)
def test_a_schedule_is_tried_before_anything_is_loaded(kind, values):
    with pytest.raises(InputError, match=r"^lr_scheduler_kwargs is .*"):
        make(lr_scheduler_type=kind, lr_scheduler_kwargs=values)


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rate": 1e30},
        {"max_steps": -1, "num_train_epochs": 0.01},
        {"eval_steps": 0.1, "save_steps": 0.2, "logging_steps": 0.5},
        {"warmup_steps": 0.06},
        {"max_grad_norm": 0},
        {"save_total_limit": 0},
        {"save_total_limit": None},
        {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}},
        {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": '{"power": 2}'},
        {"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 100}},
        {"lr_scheduler_type": "reduce_lr_on_plateau"},
        {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 10},
        {"optim": "adafactor"},
        {"optim": "adamw_torch"},
        {"seed": 2**32 - 1, "data_seed": 0},
        {"report_to": ["none"]},
        {"fp16": False},
    ],
)
def test_what_can_be_trained_with_is_not_refused(values):
    make(**values)


def test_defaults_are_within_their_ranges_and_every_range_is_of_an_argument():
    """A table of names that transformers no longer has would check nothing."""
    make()
    assert INHERITED.keys() <= {each.name for each in dataclasses.fields(TrainingArguments)}


def test_half_precision_with_loss_scaling_is_refused_on_a_cpu():
    with pytest.raises(InputError, match="fp16 is True: a CPU has no loss scaling"):
        make(fp16=True)


@pytest.mark.parametrize("tracker", ["codecarbon", "azure_ml", "flyte", "wandb"])
def test_a_tracker_whose_package_is_missing_is_refused(tracker, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
    with pytest.raises(InputError, match=f"report_to is '{tracker}', and the package .* is not installed"):
        make(report_to=[tracker])


def test_scripts_of_users_parse_them_as_transformers_has_it():
    words = ["--output_dir", "unused", "--eval_steps", "7", "--use_cpu", "true"]
    (found,) = HfArgumentParser(KDMCSETrainingArguments).parse_args_into_dataclasses(words)
    assert found.eval_steps == 7


def test_a_path_and_the_word_no_as_yaml_reads_it_are_taken(tmp_path):
    made = make(output_dir=tmp_path, eval_strategy=False, save_strategy=False, logging_strategy=False)
    assert made.output_dir == str(tmp_path)
    assert {made.eval_strategy.value, made.save_strategy.value, made.logging_strategy.value} == {"no"}


def test_no_path_holds_a_nul():
    with pytest.raises(InputError, match="output_dir is"):
        make(output_dir="a\0b")


@pytest.mark.parametrize("name", ["bf16", "auto_resume", "push_to_hub", "require_push"])
def test_a_switch_takes_no_text(name):
    with pytest.raises(InputError, match=f"{name} is 'false': true or false is needed"):
        make(**{name: "false"})
