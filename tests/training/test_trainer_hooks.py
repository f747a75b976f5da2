"""The private methods of `transformers.Trainer` that resuming and pushing rely on are there, as they are expected."""

import inspect

import pytest
from transformers import Trainer

from kdmcse_hf.training import resumable_trainer
from kdmcse_hf.training.judged_trainer import JudgedTrainer
from kdmcse_hf.training.resumable_trainer import ResumableTrainer
from kdmcse_hf.training.trainer import KDMCSETrainer

OVERRIDDEN = {
    "_save_checkpoint": ["self", "model", "trial"],
    "_save_rng_state": ["self", "output_dir"],
    "_save": ["self", "output_dir", "state_dict"],
    "_load_from_checkpoint": ["self", "resume_from_checkpoint", "model"],
    "_load_best_model": ["self"],
    "_determine_best_metric": ["self", "metrics", "trial"],
    "_load_callback_state": ["self"],
    "_push_from_checkpoint": ["self", "checkpoint_folder"],
}
CALLED = {"_get_output_dir": ["self", "trial"], "_prepare_inputs": ["self", "inputs"]}


@pytest.mark.parametrize(("name", "parameters"), [*OVERRIDDEN.items(), *CALLED.items()])
def test_the_method_has_the_parameters_that_are_relied_on(name, parameters):
    assert list(inspect.signature(getattr(Trainer, name)).parameters) == parameters


def test_no_other_private_method_is_overridden_and_all_are_listed():
    ours = {
        name
        for each in (ResumableTrainer, JudgedTrainer, KDMCSETrainer)
        for name in vars(each)
        if name.startswith("_") and not name.startswith("__") and name in vars(Trainer)
    }
    assert ours == OVERRIDDEN.keys()
    assert all(f"    {name} " in resumable_trainer.__doc__ for name in OVERRIDDEN)


def test_the_best_metric_is_asked_before_saving():
    """`_determine_best_metric` has a new best saved: Trainer must ask it before it decides on saving."""
    source = inspect.getsource(Trainer._maybe_log_save_evaluate)
    assert source.index("_determine_best_metric") < source.index("should_save")
