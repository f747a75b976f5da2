"""`KDMCSETrainingArguments`: how a run goes; what the objective is stands in the model's configuration."""

import math
import os
from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar

import torch
from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy

from ..data.schedule import FLOOR, Period
from ..encoding.precision import AUTO, evaluation_dtype
from ..errors import InputError
from ..ranges import Range, Steps, check_fields
from .inherited_arguments import INHERITED, check_dictionaries, check_optimizer, check_trackers

# Arguments of transformers that do nothing here, or harm: only their defaults are taken.
_UNSUPPORTED = {
    "label_smoothing_factor": "there are no labels to smooth",
    "train_sampling_strategy": "Algorithm 1 says which rows make a batch",
    "remove_unused_columns": "rows hold sentences, which the collator turns into tensors",
    "eval_do_concat_batches": "a score needs the embeddings of all sentences together",
    "bf16_full_eval": "it rounds the weights themselves, and they are saved afterwards: see eval_dtype",
    "fp16_full_eval": "it rounds the weights themselves, and they are saved afterwards: see eval_dtype",
    "logging_nan_inf_filter": "it hides that a run has diverged, and a GPU is waited for in each step",
    "enable_jit_checkpoint": "SIGTERM always saves a checkpoint, one that resumes exactly",
}

# With 40 evaluations, 5,000 steps in the paper's setting, ten checkpoints of 1.3 GB leave room for 66 bests of 0.44 GB
# in 40 GiB over 48,000 steps. A shorter run has ten checkpoints too, so that a tenth of it is lost at most.
_CHECKPOINT_EVALUATIONS, _CHECKPOINTS_OF_SHORT_RUN = 40, 10


def checkpoint_distance(max_steps: int, eval_steps: float) -> int:
    """Steps between two checkpoints where `save_steps` is not given: 40 evaluations, or a tenth of a shorter run.

    Args:
        max_steps: optimizer steps of the run.
        eval_steps: between two evaluations, or their share of the run (below 1).
    """
    each = math.ceil(max_steps * eval_steps) if eval_steps < 1 else int(eval_steps)
    tenth = math.ceil(max_steps // each / _CHECKPOINTS_OF_SHORT_RUN)
    return each * max(1, min(_CHECKPOINT_EVALUATIONS, tenth))


@dataclass
class KDMCSETrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the keys of mixed training.

    Defaults that differ from transformers': the model with the best STS-B dev Spearman is kept
    (`load_best_model_at_end`, `metric_for_best_model`). It is evaluated before training (`eval_on_start`) and
    every 125 steps, as in Section 4.2 of the paper (`eval_strategy`, `eval_steps`). A new best is saved when it
    comes, weights and heads alone; a checkpoint to resume from is written every 40 evaluations, in shorter runs
    after each tenth (`save_steps`, see `checkpoint_distance`), and at the end. The best and the last checkpoint
    stay (`save_total_limit`). Losses are logged every 25 steps; STS pairs are encoded 128 at once.

    Raises:
        ValueError: values out of range, with the values allowed.
    """

    _argument_group_name: ClassVar[str] = "training"

    output_dir: Annotated[str, Range(type=str, optional=True)] = field(  # type: ignore[assignment]
        default=None, metadata={"help": "Folder of the model, its checkpoints and its card."}
    )
    multimodal_period: str = field(
        default="auto",
        metadata={
            "help": "A caption step every p-th step: a number; auto = ceil(text rows / caption rows), as Algorithm 1 "
            "has it; or floor = floor(text batches / caption batches) from the first step of each epoch on, as the "
            "released code."
        },
    )
    mini_batch_size: Annotated[int | None, Range(type=int, least=1, optional=True)] = field(
        default=None, metadata={"help": "Rows encoded at once under gradient caching; null = off."}
    )
    auto_resume: bool = field(
        default=False, metadata={"help": "Go on from the newest whole checkpoint in output_dir, if there is one."}
    )
    early_stopping_patience: Annotated[int | None, Range(type=int, least=1, optional=True)] = field(
        default=None, metadata={"help": "Stop after so many evaluations without a better score; null = never."}
    )
    require_push: bool = field(
        default=False, metadata={"help": "With push_to_hub: refuse to train where the Hub would not take the model."}
    )
    push_timeout: Annotated[float, Range(above=0)] = field(
        default=1200.0, metadata={"help": "Seconds one push may take, and the end of training waits for the last."}
    )

    eval_strategy: Annotated[str, Range(type=str, choices=("no", "steps", "epoch"))] = field(
        default="steps", metadata={"help": "When to evaluate: no, steps or epoch."}
    )
    eval_steps: Annotated[float | None, Steps(optional=True)] = field(
        default=125, metadata={"help": "Optimizer steps between evaluations."}
    )
    eval_on_start: bool = field(
        default=True, metadata={"help": "Score the model before training, to know whether the run helped."}
    )
    save_steps: Annotated[float | None, Steps(optional=True)] = field(  # type: ignore[assignment]
        default=None,
        metadata={
            "help": "Optimizer steps between checkpoints to resume from; 40 times eval_steps if not given, in shorter "
            "runs a tenth of the run. A new best is saved when it comes.",
        },
    )
    save_total_limit: Annotated[int | None, Range(type=int, least=0, optional=True)] = field(
        default=2, metadata={"help": "Checkpoints that stay: the best and the last ones; 0 = all."}
    )
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Restore the best checkpoint at the end."})
    metric_for_best_model: Annotated[str | None, Range(type=str, optional=True)] = field(
        default="eval_stsb_spearman", metadata={"help": "What the best checkpoint is chosen by."}
    )
    logging_steps: Annotated[float, Steps()] = field(
        default=25, metadata={"help": "Optimizer steps between logs of the losses."}
    )
    per_device_eval_batch_size: Annotated[int, Range(type=int, least=1)] = field(
        default=128, metadata={"help": "STS sentences of mean length encoded at once a device; on a CPU at most 32."}
    )
    eval_dtype: str = field(
        default=AUTO,
        metadata={
            "help": "float32, bfloat16, or auto: bfloat16 for checks during training where the device has it in "
            "hardware, float32 for the scores before and after."
        },
    )
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Early stopping goes on counting where the checkpoint was written."}
    )

    hub_strategy: Annotated[str, Range(type=str, choices=tuple(HubStrategy))] = field(
        default="every_save",
        metadata={"help": "every_save: push each new best checkpoint in the background, and at the end; end: once."},
    )
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Leave false: a run whose loss is not finite ends there, and says so."}
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Leave false: rows hold sentences, which the collator turns into tensors."}
    )

    def __post_init__(self):
        if isinstance(self.output_dir, os.PathLike):
            self.output_dir = os.fspath(self.output_dir)
        for name in ("eval_strategy", "save_strategy", "logging_strategy"):
            if getattr(self, name) is False:  # as YAML reads the word no
                setattr(self, name, "no")
        check_fields(self, INHERITED)
        check_dictionaries(self)
        self._is_save_steps_given = self.save_steps is not None
        if self.save_steps is None:
            self.save_steps = self.eval_steps or 500  # until the number of steps is known
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = not self.metric_for_best_model.endswith(("loss", "alignment", "uniformity"))
        if self.eval_strategy == "no":
            self.load_best_model_at_end = self.eval_on_start = False  # without scores there is no best
        if self.ddp_find_unused_parameters is None:
            self.ddp_find_unused_parameters = False  # the heads, which a step may leave unused, are kept out of DDP
        if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.accelerator.is_available():
            self.use_cpu = True  # else each process would take itself for the only one
        try:
            super().__post_init__()
        except (ValueError, TypeError, NotImplementedError) as error:  # values that do not go together
            raise InputError(str(error)) from error
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # there is nothing to pin for, and torch would warn of it
        self.dataloader_drop_last = False  # only whole batches are trained on anyway, and every STS sentence is scored
        self._check()

    def set_checkpoint_distance(self, max_steps: int) -> None:
        """Set `save_steps` for a run of `max_steps` optimizer steps, unless it was given."""
        if not self._is_save_steps_given:
            self.save_steps = checkpoint_distance(max_steps, self.eval_steps or 500)

    def _check(self) -> None:
        self.period  # noqa: B018 - raises where it is no period
        evaluation_dtype(self.eval_dtype, self.device.type)
        for each in fields(self):
            if each.name in _UNSUPPORTED and (value := getattr(self, each.name)) != each.default:
                raise InputError(f"{each.name} is {value!r}: {_UNSUPPORTED[each.name]}. Leave it at {each.default!r}")
        if self.fp16 and self.device.type == "cpu":
            raise InputError("fp16 is True: a CPU has no loss scaling. Set fp16 to false, or take bf16", "fp16")
        if self.early_stopping_patience is not None and self.eval_strategy == "no":
            raise InputError("early_stopping_patience needs scores: set eval_strategy to steps or epoch")
        check_trackers(self)
        check_optimizer(self)
        if self.auto_resume and self.save_only_model:
            raise InputError("auto_resume needs checkpoints with their optimizer: set save_only_model to false")
        if self.push_to_hub and self.hub_strategy not in (HubStrategy.EVERY_SAVE, HubStrategy.END):
            strategy = HubStrategy(self.hub_strategy).value
            raise InputError(
                f"hub_strategy is {strategy!r}: optimizer states are not pushed. Take 'every_save' "
                "(each new best) or 'end'; auto_resume goes on from the checkpoints in output_dir"
            )

    @property
    def period(self) -> Period:
        """p, None for auto, or "floor"."""
        if self.multimodal_period in ("auto", FLOOR):
            return None if self.multimodal_period == "auto" else FLOOR
        if not str(self.multimodal_period).isdecimal() or int(self.multimodal_period) < 1:
            raise InputError(
                f"multimodal_period is {self.multimodal_period!r}: auto, {FLOOR} or a whole number from 1 is needed"
            )
        return int(self.multimodal_period)
