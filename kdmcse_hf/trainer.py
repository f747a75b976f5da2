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
    set_seed,
)
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.utils import logging

from .batches import MixedRows, SentenceCollator
from .captions import CaptionSource
from .card import model_card
from .evaluation.sts import sts_scores
from .hub import BestPusher, PushBest, Pushed, push_final, start_pushing
from .modeling_kdmcse import KDMCSEModel
from .sampler import MixedBatchSampler
from .training_args import KDMCSETrainingArguments

logger = logging.get_logger(__name__)

LOSS_PARTS = ("simcse_loss", "image_loss", "text_loss")


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
        own = [_RunCallback(), PushBest(self)]
        if args.early_stopping_patience is not None:
            own.append(EarlyStoppingCallback(args.early_stopping_patience))
        super().__init__(
            model=model,
            args=args,
            data_collator=SentenceCollator(processing_class, max_length),
            train_dataset=rows,
            eval_dataset=eval_dataset and {name: _by_length(pairs) for name, pairs in eval_dataset.items()},
            processing_class=processing_class,
            compute_metrics=_sts_metrics,
            callbacks=[*own, *(callbacks or [])],
            optimizers=optimizers,
        )
        self._card_template = card_template
        self._part_sums: dict[str, torch.Tensor] = {}
        self._part_counts: dict[str, int] = defaultdict(int)
        self.train_sampler()  # a batch that the data cannot fill is refused now, not after minutes of set-up

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
        """Loss of one batch; its parts are added up for the next log."""
        outputs = model(**inputs)
        for name in LOSS_PARTS:
            if (part := getattr(outputs, name)) is not None:
                self._part_sums[name] = self._part_sums.get(name, 0.0) + part.detach()
                self._part_counts[name] += 1
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add each part of the loss to the training log: its mean over the batches that had it, on all processes."""
        if "loss" in logs:
            for name, count in self._part_counts.items():
                logs[name] = self.accelerator.reduce(self._part_sums[name], "mean").item() / count
            self._part_sums.clear()
            self._part_counts.clear()
        super().log(logs, start_time)

    def prediction_step(self, model, inputs, prediction_loss_only: bool, ignore_keys: list[str] | None = None):
        """Embed both sentences of each pair: no loss, predictions (B, 2, H), labels (B,)."""
        inputs = self._prepare_inputs(inputs)
        scores = inputs.pop("scores")
        with torch.inference_mode(), self.compute_loss_context_manager():
            embeddings = model(**inputs, return_loss=False).sentence_embeddings
        return None, embeddings.float(), scores

    def create_model_card(self, **kwargs) -> None:
        """Write README.md into `output_dir`."""
        if self._card_template is None:
            super().create_model_card(**kwargs)
        elif self.is_world_process_zero():
            model_card(self, self._card_template).save(os.path.join(self.args.output_dir, "README.md"))

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Ask the Hub before training; one that would not take the model is a warning, or an error by `require_push`.

        Raises:
            ValueError: a repository name or branch that is not allowed; with `require_push`, any problem.
        """
        self.best_pusher = start_pushing(self, token, private)

    def push_to_hub(self, commit_message: str | None = None, token: str | None = None, **kwargs) -> Pushed | None:
        """Push the best model whole, with its card, and verify it; `pushed` keeps the outcome, which raises nothing.

        Args:
            commit_message: in place of one that tells the score.
            token: in place of `hub_token`, if training did not push.
            kwargs: Trainer's others; repository, branch and visibility are those of the arguments.
        """
        if self.is_in_train:  # the model is the latest, not the best: `PushBest` has pushed that
            return None
        if self.best_pusher is None:
            self.init_hf_repo(token, kwargs.get("private"))
        self.save_model(_internal_call=True)
        self.create_model_card()
        if self.is_world_process_zero():
            self.pushed = push_final(self, commit_message)
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
        stored, own = KDMCSEModel.from_pretrained(directory, dtype=self.model.dtype), self.model.config
        for name in ("objective", "pooling", "projection_dim", "image_dim", "text_dim"):
            if getattr(stored.config, name) != getattr(own, name):
                raise ValueError(
                    f"{directory} was trained with {name}={getattr(stored.config, name)!r}, this run has "
                    f"{getattr(own, name)!r}: take the same value, another output_dir, or start from the checkpoint "
                    "by model_name_or_path"
                )
        self.model.load_state_dict(stored.state_dict())

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """A repository holds safetensors only: the pickled arguments that Trainer leaves are taken out."""
        super()._save(output_dir, state_dict)
        pickled = os.path.join(output_dir or self.args.output_dir, TRAINING_ARGS_NAME)
        if self.args.should_save and os.path.exists(pickled):
            os.remove(pickled)


class _RunCallback(TrainerCallback):
    """What a run needs at its ends."""

    def on_train_begin(self, args, state, control, **kwargs):
        # Trainer seeds all processes alike, which gives all ranks the same dropout masks.
        set_seed(args.seed + args.process_index)

    def on_step_end(self, args, state, control, **kwargs):
        # The last steps count too, and a run shorter than eval_steps has a best checkpoint.
        if state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True


def _sts_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """(n, 2, H) embeddings and (n,) gold scores -> Spearman, Pearson, alignment and uniformity."""
    first, second = prediction.predictions[:, 0], prediction.predictions[:, 1]
    return sts_scores(first, second, prediction.label_ids)


def _by_length(pairs: datasets.Dataset) -> datasets.Dataset:
    """Pairs of similar length are encoded together; the scores do not depend on the order."""
    lengths = [len(a) + len(b) for a, b in zip(pairs["sentence1"], pairs["sentence2"], strict=True)]
    return pairs.select(sorted(range(len(pairs)), key=lengths.__getitem__, reverse=True))


def _check_sources(rows: MixedRows, objective: str, period: int | None) -> None:
    if objective in ("mcse", "kdmcse") and not rows.caption_rows:
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
