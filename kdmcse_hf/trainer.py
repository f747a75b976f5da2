"""`KDMCSETrainer`: mixed training with STS-B dev as the judge, on the documented hooks of `transformers.Trainer`."""

import os
from collections import defaultdict

import datasets
import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerState,
    set_seed,
)
from transformers.trainer import TRAINER_STATE_NAME, TRAINING_ARGS_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, IntervalStrategy, TrainOutput
from transformers.utils import logging

from .batches import MixedRows, SentenceCollator, StsSentences
from .captions import CAPTION_COLUMNS, CaptionSource
from .card import write_card
from .checkpoints import ResumeError, checkpoint_fault, newest_whole_checkpoint, written_whole
from .evaluation.sts import sts_scores
from .hub import BestPusher, PushBest, Pushed, push_final, start_pushing
from .interruption import StopOnSigterm
from .modeling_kdmcse import KDMCSEModel
from .run_facts import RunFacts, differences, run_facts
from .sampler import MixedBatchSampler
from .training_args import KDMCSETrainingArguments

logger = logging.get_logger(__name__)


class KDMCSETrainer(Trainer):
    """Train a `KDMCSEModel` on text batches mixed with caption batches (Algorithm 1).

    Args:
        model: with the objective in its configuration.
        args: run values.
        text_dataset: one column `text`; None to train on captions alone.
        multimodal_dataset: captions with teacher features; None for plain SimCSE.
        eval_dataset: STS pairs (`sentence1`, `sentence2`, `score`), scored as `eval_stsb_*`; or a dict of such, whose
            keys stand in place of `stsb`.
        processing_class: the encoder's tokenizer.
        max_length: tokens of a training sentence.
        card_template: Jinja file of the model card, as `model_cards/template.md`; Trainer's own card without it.
        recipe: keys of recipes/train.py that the card names and repeats, such as `text_dataset` and `model_license`.
        callbacks, optimizers: as for `Trainer`.

    Raises:
        ValueError: sets without rows or smaller than a batch, a grounded objective without captions, several GPUs in
            one process.
    """

    # compute_loss returns the mean over one batch; Trainer divides by the accumulated batches.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: KDMCSEModel,
        args: KDMCSETrainingArguments,
        text_dataset: datasets.Dataset | None = None,
        multimodal_dataset: CaptionSource | None = None,
        eval_dataset: datasets.Dataset | dict[str, datasets.Dataset] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        max_length: int = 32,
        card_template: str | None = None,
        recipe: dict | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple = (None, None),
    ):
        _check_devices(args)
        rows = MixedRows(text_dataset, multimodal_dataset)
        _check_sources(rows, model.config.objective, args.period)
        if isinstance(eval_dataset, datasets.Dataset):
            eval_dataset = {"stsb": eval_dataset}
        self.best_pusher: BestPusher | None = None
        self.pushed: Pushed | None = None
        self._stop = StopOnSigterm(self)
        own = [_RunCallback(), self._stop, PushBest(self)]
        if args.early_stopping_patience is not None:
            own.append(EarlyStoppingCallback(args.early_stopping_patience))
        super().__init__(
            model=model,
            args=args,
            data_collator=SentenceCollator(processing_class, max_length),
            train_dataset=rows,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            compute_metrics=self._sts_metrics,
            callbacks=[*own, *(callbacks or [])],
            optimizers=optimizers,
        )
        self._card_template, self.recipe = card_template, recipe or {}
        self._part_sums: dict[str, torch.Tensor] = {}
        self._part_counts: dict[str, int] = defaultdict(int)
        self.train_sampler()  # a batch that the data cannot fill is refused now, not after minutes of set-up

    @property
    def interrupted(self) -> bool:
        """Whether the last call of `train` ended early, on SIGTERM; a checkpoint was saved then."""
        return self._stop.received

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs) -> TrainOutput:
        """Train, or go on exactly where a checkpoint was written.

        Args:
            resume_from_checkpoint: its directory; True for the newest whole one in `output_dir`.
            kwargs: as for `Trainer.train`.

        Raises:
            ResumeError: a checkpoint that is not whole, or one of another objective or width.
            CheckpointError: a checkpoint could not be written; those before it are whole.
        """
        facts = run_facts(self) if self.model else {}  # a search makes the model of each trial later
        if resume_from_checkpoint is True:
            resume_from_checkpoint = newest_whole_checkpoint(self.args.output_dir)
            if resume_from_checkpoint is None:
                raise ResumeError(f"resume_from_checkpoint is true: {self.args.output_dir} holds no whole checkpoint")
        if resume_from_checkpoint:
            self._check_checkpoint(resume_from_checkpoint, facts)
            if self._has_ended(state := _state(resume_from_checkpoint)):
                return self._end_again(resume_from_checkpoint, state)
        self.remove_callback(RunFacts)
        self.add_callback(RunFacts(facts))
        return super().train(resume_from_checkpoint, **kwargs)

    def _check_checkpoint(self, checkpoint: str, facts: dict) -> None:
        if fault := checkpoint_fault(checkpoint):
            raise ResumeError(
                f"{checkpoint} cannot be resumed from: {fault}. Take an earlier checkpoint (auto_resume: true finds "
                "the newest whole one), or start anew from its weights by model_name_or_path"
            )
        if changed := differences(checkpoint, facts):
            logger.warning(
                f"{checkpoint} was written by a run with other values:\n  "
                + "\n  ".join(changed)
                + "\nTraining goes on, but what comes out is not what either run alone would give"
            )

    def _has_ended(self, state: TrainerState) -> bool:
        """Whether all steps were done, or early stopping had come, when a checkpoint was written."""
        *_, max_steps = self.set_initial_training_values(self.args, self.get_train_dataloader())
        early = state.stateful_callbacks.get(EarlyStoppingCallback.__name__, {}).get("attributes", {})
        patience = self.args.early_stopping_patience
        return state.global_step >= max_steps or (
            patience is not None and early.get("early_stopping_patience_counter", 0) >= patience
        )

    def _end_again(self, checkpoint: str, state: TrainerState) -> TrainOutput:
        """What follows the last step: Trainer itself would take one more step first."""
        logger.warning(f"all steps were done when {checkpoint} was written: nothing is left to train")
        self.state = state
        state.is_local_process_zero, state.is_world_process_zero = (
            self.is_local_process_zero(),
            self.is_world_process_zero(),
        )
        self._load_repository(checkpoint)
        metrics = {"total_flos": state.total_flos, "train_loss": self._mean_loss()}
        self.log(metrics)
        if self.args.load_best_model_at_end and (best := _best_checkpoint(self.args.output_dir, state)):
            state.best_model_checkpoint = best
            self._load_best_model()
        return TrainOutput(state.global_step, metrics["train_loss"], metrics)

    def train_sampler(self) -> MixedBatchSampler:
        """The schedule of this process."""
        rows, args = self.train_dataset, self.args
        return MixedBatchSampler(
            rows.text_rows,
            rows.caption_rows,
            batch_size=self._train_batch_size,
            period=args.period,
            accumulation=args.gradient_accumulation_steps,
            seed=args.seed if args.data_seed is None else args.data_seed,
            rank=args.process_index,
            world_size=args.world_size,
        )

    def get_train_dataloader(self) -> DataLoader:
        """Batches of this process: the sampler cuts them by rank, so Accelerate must not shard them again."""
        args = self.args
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.train_sampler(),
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            persistent_workers=args.dataloader_persistent_workers,
            pin_memory=args.dataloader_pin_memory,
        )
        return prepare_data_loader(loader, args.device, num_processes=1, process_index=0, put_on_device=True)

    def compute_loss(self, model, inputs, return_outputs: bool = False, num_items_in_batch=None):
        """Loss of one batch; its parts, the output's fields `*_loss`, are added up for the next log."""
        outputs = model(**inputs, mini_batch_size=self.args.mini_batch_size)
        for name, part in outputs.items():
            if name.endswith("_loss"):
                self._part_sums[name] = self._part_sums.get(name, 0.0) + part.detach()
                self._part_counts[name] += 1
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add each part of the loss to the training log: its mean over the batches that had it, on all processes."""
        if "train_loss" in logs and any("loss" in entry for entry in self.state.log_history):
            logs["train_loss"] = self._mean_loss()  # Trainer's own leaves out the steps before a resume
        if "loss" in logs:
            for name, count in self._part_counts.items():
                logs[name] = self.accelerator.reduce(self._part_sums[name], "mean").item() / count
            self._part_sums.clear()
            self._part_counts.clear()
        super().log(logs, start_time)

    def _mean_loss(self) -> float:
        """Of all steps that were logged."""
        total, last = 0.0, 0
        for entry in self.state.log_history:
            if "loss" in entry:
                total, last = total + entry["loss"] * (entry["step"] - last), entry["step"]
        return total / max(last, 1)

    def get_eval_dataloader(self, eval_dataset: str | datasets.Dataset | None = None) -> DataLoader:
        """Distinct sentences of STS pairs, sharded over the processes."""
        pairs = self.eval_dataset[eval_dataset] if isinstance(eval_dataset, str) else eval_dataset
        self._sts = StsSentences(pairs)
        return super().get_eval_dataloader(self._sts)

    def prediction_step(self, model, inputs, prediction_loss_only: bool, ignore_keys: list[str] | None = None):
        """Embed sentences: no loss, predictions (B, H), labels (B,) the sentences' numbers."""
        inputs = self._prepare_inputs(inputs)
        numbers = inputs.pop("numbers")
        with torch.inference_mode(), self.compute_loss_context_manager():
            embeddings = model(**inputs, return_loss=False).sentence_embeddings
        return None, embeddings[:, 0].float(), numbers

    def _sts_metrics(self, prediction: EvalPrediction) -> dict[str, float]:
        """(m, H) embeddings of distinct sentences -> Spearman, Pearson, alignment and uniformity of their pairs."""
        return sts_scores(*self._sts.pairs(prediction.predictions, prediction.label_ids))

    def create_model_card(self, **kwargs) -> None:
        """Write README.md and the files it speaks of into `output_dir`."""
        if self._card_template is None:
            super().create_model_card(**kwargs)
        elif self.is_world_process_zero():
            write_card(self, self._card_template, self.args.output_dir)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Ask the Hub before training; one that would not take the model is a warning, or an error by `require_push`.

        Raises:
            ValueError: a repository name or branch that is not allowed; with `require_push`, any problem.
        """
        self.best_pusher = start_pushing(self, token, private)

    def push_to_hub(self, commit_message: str | None = None, token: str | None = None, **kwargs) -> Pushed | None:
        """Push the best model whole, with its card, and verify it; `pushed` keeps the outcome, which raises nothing.

        Args:
            commit_message: not used; the commit tells the step and the score.
            token: in place of `hub_token`, if training did not push.
            kwargs: of Trainer's others `private` alone, as `token`; the arguments name repository and branch.
        """
        if self.is_in_train:  # the model is the latest, not the best: `PushBest` has pushed that
            return None
        if self.best_pusher is None:
            self.init_hf_repo(token, kwargs.get("private"))
        self.save_model(_internal_call=True)
        self.create_model_card()
        if self.is_world_process_zero():
            self.pushed = push_final(self)
        return self.pushed

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Trainer would push the latest, without heads: `PushBest` pushes the best."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        """Trainer would look for encoder and heads in one file, find neither, and say nothing."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            self._load_repository(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_best_model()
        else:
            logger.info(f"restoring {self.state.best_model_checkpoint} (score {self.state.best_metric})")
            self._load_repository(self.state.best_model_checkpoint)

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
        with written_whole(directory, self.args.should_save):
            super()._save_checkpoint(model, trial)

    def _save_rng_state(self, output_dir: str) -> None:
        """The last file of each process; `trainer_state.json`, which tells a whole checkpoint, comes after all."""
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


def _check_sources(rows: MixedRows, objective: str, period: int | None) -> None:
    if "image_embeds" in CAPTION_COLUMNS[objective] and not rows.caption_rows:
        raise ValueError(f"objective {objective!r} needs multimodal_dataset; objective='simcse' trains on text alone")
    if period is None and 0 < rows.text_rows <= rows.caption_rows:
        logger.warning(
            f"text_dataset ({rows.text_rows} rows) is no larger than multimodal_dataset ({rows.caption_rows} rows): "
            "with multimodal_period 'auto' the period is 1, every step is a caption step and the text is never read "
            "(Algorithm 1). Set multimodal_period to 2 or more to mix them"
        )


def _check_devices(args: KDMCSETrainingArguments) -> None:
    if args.n_gpu > 1:
        raise ValueError(
            f"{args.n_gpu} GPUs are visible to one process, whose batches would be torn apart: start by `accelerate "
            "launch --multi_gpu --num_processes N`, or set CUDA_VISIBLE_DEVICES=0"
        )
