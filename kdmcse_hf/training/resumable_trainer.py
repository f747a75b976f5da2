"""Runs that can be killed at any moment and go on to the bit; what is not written whole is not resumed from.

Trainer has no public hook for some of this. Its private methods that are overridden here, in `judged_trainer.py` and
in `trainer.py`, each ending in the method of Trainer's own where that does the work:

    _save_checkpoint        a checkpoint is written whole or not at all, a new best between two of them without state
    _save_rng_state         the last file of each process, after which all processes wait
    _save                   a repository holds safetensors only
    _load_from_checkpoint   encoder and heads are in two files
    _load_best_model        the same
    _determine_best_metric  a new best is saved where it is to be restored
    _load_callback_state    patience and the record of the run are those of this start
    _push_from_checkpoint   only the best is pushed, by `PushBest`

tests/training/test_trainer_hooks.py fails where a version of transformers has changed one of them.
"""

import os
import pathlib
import shutil
from typing import Any

from accelerate.utils import gather_object
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerState,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, IntervalStrategy, SaveStrategy, TrainOutput
from transformers.utils import logging

from ..launcher import end_with_launcher
from ..model.modeling_kdmcse import KDMCSEModel
from .checkpoints import (
    CheckpointError,
    ResumeError,
    checkpoint_fault,
    newest_whole_checkpoint,
    remove_broken,
    rotate,
    without_rotation,
    written_whole,
)
from .checksums import damage
from .run_lock import run_lock
from .run_record import RunRecord, differences
from .stop_on_sigterm import StopOnSigterm
from .training_args import KDMCSETrainingArguments

logger = logging.get_logger(__name__)

_OWN = (EarlyStoppingCallback, RunRecord)


class ResumableTrainer(Trainer):
    """`Trainer` with exact resuming, checkpoints that are whole or not there, and a clean end on SIGTERM.

    Args:
        callbacks: of the run; those that resuming needs come before them.
        kwargs: as for `Trainer`.
    """

    args: KDMCSETrainingArguments
    model: KDMCSEModel
    processing_class: PreTrainedTokenizerBase

    def __init__(self, callbacks: list[TrainerCallback], **kwargs):
        self._only_best_is_due = False
        self._stop = StopOnSigterm(lambda pending: self.accelerator.reduce(pending, "sum"))
        super().__init__(callbacks=[self._stop, _RunCallback(), *callbacks], **kwargs)

    @property
    def interrupted(self) -> bool:
        """Whether the last call of `train` ended early, on SIGTERM; a checkpoint was saved then."""
        return self._stop.received

    def train(  # type: ignore[override]
        self, resume_from_checkpoint: str | bool | None = None, **kwargs
    ) -> TrainOutput:
        """Train, or go on exactly where a checkpoint was written.

        Args:
            resume_from_checkpoint: its directory; True for the newest whole one in `output_dir`.
            kwargs: as for `Trainer.train`.

        Raises:
            ResumeError: a checkpoint that is not whole, or one of another objective or width.
            CheckpointError: a checkpoint could not be written; those before it are whole. Or the best was damaged.
            OutputInUseError: another run is writing to `output_dir`.
        """
        end_with_launcher()
        with run_lock(self.args.output_dir, self.is_world_process_zero()):
            return self._train_alone(resume_from_checkpoint, **kwargs)

    def _train_alone(self, resume_from_checkpoint: str | bool | None, **kwargs) -> TrainOutput:
        record = self.run_record() if self.model else {}  # a search makes the model of each trial later
        if resume_from_checkpoint is True:
            resume_from_checkpoint = newest_whole_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ResumeError(f"resume_from_checkpoint is true: {self.args.output_dir} holds no whole checkpoint")
        self._check_agreement(resume_from_checkpoint or None)
        self.args.set_checkpoint_distance(self._max_steps())
        if resume_from_checkpoint:
            self._check_checkpoint(resume_from_checkpoint, record)
            if self._has_ended(state := _state(resume_from_checkpoint)):
                return self._end_again(resume_from_checkpoint, state)
            self.args.eval_on_start = False  # already done when the run first started
        self.remove_callback(RunRecord)
        self.add_callback(RunRecord(record))
        try:
            return super().train(resume_from_checkpoint, **kwargs)
        finally:
            self._stop.restore_handler()

    def run_record(self) -> dict:
        """What the run depends on, as its checkpoints keep it; a subclass says what that is."""
        return {}

    def _check_agreement(self, checkpoint: str | None) -> None:
        found = gather_object([checkpoint and os.path.basename(os.path.normpath(checkpoint))])
        if len(set(found)) > 1:
            raise ResumeError(
                f"the processes would go on from different checkpoints ({', '.join(map(str, found))}): "
                f"{self.args.output_dir} must be one folder that all machines see"
            )

    def _check_checkpoint(self, checkpoint: str, record: dict) -> None:
        if fault := checkpoint_fault(checkpoint):
            raise ResumeError(
                f"{checkpoint} cannot be resumed from: {fault}. Take an earlier checkpoint (auto_resume: true finds "
                "the newest whole one), or start anew from its weights by model_name_or_path"
            )
        if changed := differences(checkpoint, record):
            logger.warning(
                f"{checkpoint} was written by a run with other values:\n  "
                + "\n  ".join(changed)
                + "\nTraining goes on, but what comes out is not what either run alone would give"
            )

    def _has_ended(self, state: TrainerState) -> bool:
        """Whether all steps were done, or early stopping had come, when a checkpoint was written."""
        callbacks: Any = state.stateful_callbacks  # a dict, once it was read from a checkpoint
        early = callbacks.get(EarlyStoppingCallback.__name__, {}).get("attributes", {})
        patience = self.args.early_stopping_patience
        return state.global_step >= self._max_steps() or (
            patience is not None and early.get("early_stopping_patience_counter", 0) >= patience
        )

    def _max_steps(self) -> int:
        *_, max_steps = self.set_initial_training_values(self.args, self.get_train_dataloader())
        return max_steps

    def _end_again(self, checkpoint: str, state: TrainerState) -> TrainOutput:
        """What follows the last step: Trainer itself would take one more step first."""
        logger.warning(f"all steps were done when {checkpoint} was written: nothing is left to train")
        self.state = state
        state.is_local_process_zero, state.is_world_process_zero = (
            self.is_local_process_zero(),
            self.is_world_process_zero(),
        )
        if self.args.should_save and self.args.save_total_limit:  # killed while the last checkpoint superseded another
            remove_broken(self.args.output_dir)
        self._load_repository(checkpoint)
        metrics = {"total_flos": state.total_flos, "train_loss": self._mean_loss()}
        self.log(metrics)
        if self.args.load_best_model_at_end:
            state.best_model_checkpoint = _best_checkpoint(self.args.output_dir, state)
            if state.best_model_checkpoint:
                self._load_best_model()
            else:
                state.best_global_step = state.best_metric = None  # it was removed: card and page speak of the last
        return TrainOutput(state.global_step, metrics["train_loss"], metrics)

    def _mean_loss(self) -> float:
        """Of all steps that were logged."""
        total, last = 0.0, 0.0
        for entry in self.state.log_history:
            if "loss" in entry:
                total, last = total + entry["loss"] * (entry["step"] - last), entry["step"]
        return total / max(last, 1)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Trainer's own `train_loss` leaves out the steps before a resume."""
        if "train_loss" in logs and any("loss" in entry for entry in self.state.log_history):
            logs["train_loss"] = self._mean_loss()
        super().log(logs, start_time)

    def _load_callback_state(self) -> None:
        """What was counted comes from the checkpoint; patience and record are those of this start."""
        own = {type(each): each.state()["args"] for each in self.callback_handler.callbacks if isinstance(each, _OWN)}
        super()._load_callback_state()
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, _OWN):
                vars(callback).update(own[type(callback)])
                # Trainer fails to save a callback that the checkpoint does not know.
                self.state.stateful_callbacks.setdefault(type(callback).__name__, {})  # type: ignore[union-attr]

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        """Trainer would look for encoder and heads in one file, find neither, and say nothing."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_repository(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        best = str(self.state.best_model_checkpoint)
        if fault := damage(pathlib.Path(best)):
            raise CheckpointError(
                f"{best}, the best checkpoint, cannot be restored: {fault}. Remove it, then start the same command "
                "with --auto_resume true to end with the weights of the last step instead"
            )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            logger.info(f"restoring {best} (score {self.state.best_metric})")
            self._load_repository(best)

    def _load_repository(self, directory: str) -> None:
        stored, own = type(self.model).from_pretrained(directory, dtype=self.model.dtype), self.model.config
        for name in ("objective", "pooling", "projection_dim", "image_dim", "text_dim"):
            if getattr(stored.config, name) != getattr(own, name):
                raise ResumeError(
                    f"{directory} was trained with {name}={getattr(stored.config, name)!r}, this run has "
                    f"{getattr(own, name)!r}: take the same value, another output_dir, or start from the checkpoint "
                    "by model_name_or_path"
                )
        self.model.load_state_dict(stored.state_dict())

    def _save_checkpoint(self, model, trial) -> None:
        directory = os.path.join(self._get_output_dir(trial), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        only_best, self._only_best_is_due = self._only_best_is_due, False
        if only_best and self.args.should_save and os.path.isdir(directory):
            shutil.rmtree(directory)  # an earlier run's optimizer must not stand beside these weights
        with written_whole(directory, self.args.should_save), without_rotation(self.args, weights_alone=only_best):
            super()._save_checkpoint(model, trial)
        if self.args.should_save:
            rotate(directory, self.state.best_model_checkpoint, self.args.save_total_limit)

    def _determine_best_metric(self, metrics: dict[str, float], trial) -> bool:
        """A new best is saved where it is to be restored; so are the state where training stops and SIGTERM's."""
        is_best = super()._determine_best_metric(metrics, trial)
        if self.args.load_best_model_at_end and self.args.save_strategy != SaveStrategy.BEST:
            is_due = self.control.should_save or self.control.should_training_stop
            is_sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled  # which restore the best from the state
            self._only_best_is_due = is_best and not is_due and not is_sharded
            self.control.should_save = is_best or is_due
        return is_best or self.interrupted

    def _save_rng_state(self, output_dir: str) -> None:
        """The last file of each process; the checksums, which tell a whole checkpoint, come after all."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """A repository holds safetensors only and names no code: Trainer's pickled arguments are taken out."""
        self.processing_class.init_kwargs.pop("auto_map", None)
        super()._save(output_dir, state_dict)
        pickled = os.path.join(output_dir or self.args.output_dir, TRAINING_ARGS_NAME)
        if self.args.should_save and os.path.exists(pickled):
            os.remove(pickled)


class _RunCallback(TrainerCallback):
    """What a run needs at its ends."""

    def on_train_begin(self, args, state, control, **kwargs):
        # Trainer seeds all processes alike, which gives all ranks the same dropout masks.
        set_seed(args.seed + args.process_index)
        if state.best_model_checkpoint is None:  # Trainer forgets it where output_dir was moved
            state.best_model_checkpoint = _best_checkpoint(args.output_dir, state)

    def on_step_end(self, args, state, control, **kwargs):
        # The last steps count too, and a run shorter than eval_steps has a best checkpoint.
        if state.global_step >= state.max_steps and args.eval_strategy == IntervalStrategy.STEPS:
            control.should_evaluate = True
        self._close_log(args, control)

    def on_epoch_end(self, args, state, control, **kwargs):
        self._close_log(args, control)

    def _close_log(self, args, control):
        # The losses since the last log are in no checkpoint: with a log before each, none are lost on resuming.
        if (control.should_save or control.should_evaluate) and args.logging_strategy != IntervalStrategy.NO:
            control.should_log = True


def _state(checkpoint: str) -> TrainerState:
    return TrainerState.load_from_json(os.path.join(checkpoint, TRAINER_STATE_NAME))


def _best_checkpoint(output_dir: str, state: TrainerState) -> str | None:
    if not state.best_global_step:
        return None
    path = os.path.join(output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.best_global_step}")
    return path if os.path.isdir(path) else None
