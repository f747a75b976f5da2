"""`KDMCSETrainer`: mixed training with STS-B dev as the judge, on the documented hooks of `transformers.Trainer`."""

import os
from collections import defaultdict

import datasets
import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import gather_object
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, IntervalStrategy
from transformers.utils import logging

from ..card.model_card import TEMPLATE, write_card
from ..card.run_summary import RETRIEVAL_SCORES, STS_SCORES, RunSummary, changed_arguments
from ..data.batches import MixedRows, SentenceCollator, StsSentences
from ..data.held_out import CaptionSubset, HeldOutCaptions, hold_out
from ..data.sampler import MixedBatchSampler
from ..data.schedule import Period
from ..encoding.encode_all import CPU_SENTENCES, encode_all
from ..encoding.sentence_encoder import tokenize
from ..encoding.support import attention_name
from ..encoding.token_limit import token_limit
from ..features.caption_features import CaptionFeatures
from ..features.store import FeatureStore
from ..hub.best_pusher import BestPusher
from ..hub.push import Pushed
from ..model.configuration_kdmcse import KDMCSEConfig
from ..model.modeling_kdmcse import KDMCSEModel
from .judges import Judges, check_held_out, has_diverged, judge_name, no_scores, scores
from .push_best import PushBest, push_final, start_pushing
from .resumable_trainer import ResumableTrainer
from .run_record import run_record
from .stop_on_sigterm import ignore_sigterm
from .training_args import KDMCSETrainingArguments

logger = logging.get_logger(__name__)


class KDMCSETrainer(ResumableTrainer):
    """Train a `KDMCSEModel` on text batches mixed with caption batches (Algorithm 1).

    Args:
        model: with the objective in its configuration.
        args: run values.
        text_dataset: one column `text`; None to train on captions alone.
        multimodal_dataset: captions with teacher features; None for plain SimCSE.
        eval_dataset: STS pairs (`sentence1`, `sentence2`, `score`), scored as `eval_stsb_*`; or a dict of such, whose
            keys stand in place of `stsb`. Without any, 5 % of the images are held out of training, and retrieval
            among their captions is scored as `eval_retrieval_*`.
        processing_class: the encoder's tokenizer.
        max_length: tokens of a training sentence.
        card_template: Jinja file of the model card; None for Trainer's own card.
        recipe: keys of recipes/train.py that the card names and repeats, such as `text_dataset` and `model_license`.
        callbacks, optimizers: as for `Trainer`.

    Attributes:
        diverged: whether an evaluation in training found embeddings that are not finite or all the same.
        pushed: what became of the last push to the Hub, if there was one.

    Raises:
        ValueError: sets without rows or smaller than a batch, a grounded objective without captions, several GPUs in
            one process, no tokenizer, a batch of one row, a metric that is not scored.
    """

    # compute_loss returns the mean over one batch; Trainer divides by the accumulated batches.
    loss_is_scaled_for_ga = False

    args: KDMCSETrainingArguments
    model: KDMCSEModel
    train_dataset: MixedRows
    eval_dataset: Judges | None
    data_collator: SentenceCollator
    hub_model_id: str | None  # type: ignore[assignment]

    def __init__(
        self,
        model: KDMCSEModel,
        args: KDMCSETrainingArguments,
        text_dataset: datasets.Dataset | None = None,
        multimodal_dataset: CaptionFeatures | None = None,
        eval_dataset: datasets.Dataset | dict[str, datasets.Dataset] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        max_length: int = 32,
        card_template: str | os.PathLike | None = TEMPLATE,
        recipe: dict | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple = (None, None),
    ):
        _check_devices(args)
        if processing_class is None:
            raise ValueError("processing_class is missing: the encoder's tokenizer is needed")
        limit = token_limit(model.encoder, processing_class)
        _check_batch(model.config, args)
        if eval_dataset is None and args.eval_strategy != IntervalStrategy.NO:
            multimodal_dataset, eval_dataset = _held_out(multimodal_dataset, model, args)
        rows = MixedRows(text_dataset, multimodal_dataset)
        _check_sources(rows, model.config.objective, model.objective.teacher_columns, args.period)
        if isinstance(eval_dataset, datasets.Dataset):
            eval_dataset = {"stsb": eval_dataset}
            _check_metric(args, "stsb", STS_SCORES)
        self.pushed: Pushed | None = None
        self.diverged = False
        self._push_best = PushBest(write_card=self.create_model_card)
        own: list[TrainerCallback] = [self._push_best]
        if args.early_stopping_patience is not None:
            own.append(EarlyStoppingCallback(args.early_stopping_patience))
        super().__init__(
            model=model,
            args=args,
            data_collator=SentenceCollator(processing_class, _checked_length(max_length, limit)),
            train_dataset=rows,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[*own, *(callbacks or [])],
            optimizers=optimizers,
        )
        self._card_template, self.recipe = card_template, recipe or {}
        self._token_limit = limit
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
            worker_init_fn=ignore_sigterm,
            # Persistent workers draw fewer seeds, which no row needs: drawn here, they leave dropout's masks alone.
            generator=torch.Generator().manual_seed(args.seed),
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

    def _save_checkpoint(self, model, trial) -> None:
        """A model that has diverged is not worth going on from."""
        if not self.diverged:
            super()._save_checkpoint(model, trial)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add each part of the loss to the training log: its mean over the batches that had it, on all processes."""
        if "loss" in logs:
            for name, count in self._part_counts.items():
                logs[name] = self.accelerator.reduce(self._part_sums[name], "mean").item() / count
        if logs.keys() & {"loss", "train_loss"}:
            self._part_sums.clear()
            self._part_counts.clear()
        super().log(logs, start_time)

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Score as `Trainer.evaluate` does; training's random state stays as it was, however often it is scored.

        Training ends where the encoder has diverged; the best checkpoint before that stays.
        """
        with torch.random.fork_rng(devices=[]):
            metrics = super().evaluate(*args, **kwargs)
        if self.diverged:
            self.control.should_training_stop = True
        return metrics

    def get_eval_dataloader(  # type: ignore[override]
        self, eval_dataset: str | datasets.Dataset | HeldOutCaptions | None = None
    ) -> StsSentences | HeldOutCaptions:
        """The sentences of STS pairs or of held-out captions: `evaluation_loop` makes the batches."""
        judge = (self.eval_dataset or {})[eval_dataset] if isinstance(eval_dataset, str) else eval_dataset
        return judge if isinstance(judge, HeldOutCaptions) else StsSentences(judge)

    def evaluation_loop(  # type: ignore[override]
        self,
        dataloader: StsSentences | HeldOutCaptions,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Embed a judge's sentences and score them: batches of equally many tokens, shared out over the processes."""
        judge, args, tokenizer = dataloader, self.args, self.processing_class
        self.model.eval()
        if callable(score_weights := getattr(self.optimizer, "eval", None)):  # schedule-free optimizers have others
            score_weights()

        def embed(**inputs) -> torch.Tensor:
            views = {name: inputs.pop(name)[:, None] for name in ("input_ids", "attention_mask")}
            return self.prediction_step(self.model, {**views, **inputs}, prediction_loss_only=False)[1]

        tokens = tokenize(tokenizer, judge.texts, self._token_limit)
        batch_size = args.per_device_eval_batch_size
        if args.device.type == "cpu":
            batch_size = min(batch_size, CPU_SENTENCES)
        embeddings = encode_all(embed, tokens, tokenizer.pad_token_id, batch_size, progress=not args.disable_tqdm)
        found = {f"{metric_key_prefix}_{name}": value for name, value in self._scores(judge, embeddings).items()}
        return EvalLoopOutput(predictions=embeddings, label_ids=None, metrics=found, num_samples=len(judge))

    def prediction_step(self, model, inputs, prediction_loss_only: bool, ignore_keys: list[str] | None = None):
        """Embed sentences: no loss, predictions (B, H), no labels."""
        inputs = self._prepare_inputs(inputs)
        with torch.inference_mode(), self.compute_loss_context_manager():
            embeddings = model(**inputs, return_loss=False).sentence_embeddings
        return None, embeddings[:, 0].float(), None

    def _scores(self, judge: StsSentences | HeldOutCaptions, embeddings: np.ndarray) -> dict[str, float]:
        """The scores of (m, H) embeddings of a judge's sentences; in training NaN where the encoder has diverged."""
        if not (self.is_in_train and has_diverged(embeddings)):
            return scores(judge, self.model, embeddings)
        if not self.diverged:
            logger.warning(
                f"training has diverged by step {self.state.global_step} and ends here: embeddings are not finite or "
                "the same for all sentences"
            )
        self.diverged = True
        return no_scores(judge)

    def run_record(self) -> dict:
        """What the run depends on, as its checkpoints keep it."""
        if len(found := set(gather_object([self._attention_name()]))) > 1:
            raise ValueError(
                f"the processes would compute attention differently ({'; '.join(sorted(found))}), as not all had the "
                "encoder's weights when the model was made: set cpu_ram_efficient_loading of fsdp_config to false"
            )
        schedule, max_length = self.train_sampler().schedule.name, self.data_collator.max_length
        judge = self.dev_name if self.eval_dataset else None
        return run_record(self.args, self.train_dataset, self.model.config, schedule, max_length, judge, found.pop())

    @property
    def dev_name(self) -> str:
        """How to speak of what the checkpoint is chosen by: the first of the sets that are scored."""
        return judge_name(next(iter((self.eval_dataset or {}).values()), None))

    def _attention_name(self) -> str:
        args = self.args
        dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        return attention_name(self.accelerator.unwrap_model(self.model).encoder, args.device.type, dtype)

    def run_summary(self) -> RunSummary:
        """The facts of the run that its model card tells, as they stand now."""
        args, rows, state = self.args, self.train_dataset, self.state
        name = os.path.basename(os.path.abspath(args.output_dir))
        judge = next(iter(self.eval_dataset or {}), "stsb")
        return RunSummary(
            config=self.model.config,
            encoder_class=type(self.model.encoder).__name__,
            name=name,
            repo_id=self.hub_model_id or args.hub_model_id or name,
            recipe=self.recipe,
            text_rows=rows.text_rows,
            caption_rows=rows.caption_rows,
            teacher=_teacher_name(rows.captions),
            max_length=self.data_collator.max_length,
            attention=self._attention_name(),
            batch_size=args.train_batch_size * args.world_size * args.gradient_accumulation_steps,
            world_size=args.world_size,
            seed=args.seed,
            run_values=changed_arguments(args),
            judge=judge,
            dev_name=self.dev_name,
            steps=state.global_step,
            best_step=state.best_global_step if args.load_best_model_at_end else None,
            history=state.log_history,
        )

    def create_model_card(self, **kwargs) -> None:  # type: ignore[override]
        """Write README.md and the files it speaks of into `output_dir`."""
        if self._card_template is None:
            super().create_model_card(**kwargs)
        elif self.is_world_process_zero():
            write_card(self.run_summary(), self._card_template, self.args.output_dir)

    @property
    def best_pusher(self) -> BestPusher | None:
        """What pushes the best model to the Hub; None until the Hub was asked."""
        return self._push_best.pusher

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> BestPusher:  # type: ignore[override]
        """Ask the Hub before training; one that would not take the model is a warning, or an error by `require_push`.

        Raises:
            ValueError: a repository name or branch that is not allowed; with `require_push`, any problem.
        """
        model_bytes = sum(weight.nbytes for weight in self.model.parameters())
        pusher = start_pushing(self.args, model_bytes, self.is_world_process_zero(), token, private)
        self._push_best.pusher, self.hub_model_id = pusher, pusher.target.repo_id
        return pusher

    def push_to_hub(  # type: ignore[override]
        self, commit_message: str | None = None, token: str | None = None, **kwargs
    ) -> Pushed | None:
        """Push the best model whole, with its card, and verify it; `pushed` keeps the outcome, which raises nothing.

        Args:
            commit_message: not used; the commit tells the step and the score.
            token: in place of `hub_token`, if training did not push.
            kwargs: of Trainer's others `private` alone, as `token`; the arguments name repository and branch.
        """
        if self.is_in_train:  # the model is the latest, not the best: `PushBest` has pushed that
            return None
        if (pusher := self.best_pusher) is None:
            pusher = self.init_hf_repo(token, kwargs.get("private"))
        self.save_model(_internal_call=True)
        self.create_model_card()
        if self.is_world_process_zero():
            pairs = next(iter((self.eval_dataset or {}).values()), None)
            columns = None
            if isinstance(pairs, datasets.Dataset):
                columns = list(pairs["sentence1"]), list(pairs["sentence2"]), list(pairs["score"])
            self.pushed = push_final(pusher, self.args, self.state, columns)
        return self.pushed

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Trainer would push the latest, without heads: `PushBest` pushes the best."""


def check_captions(objective: str, teacher_columns: tuple[str, ...], has_captions: bool) -> None:
    """Refuse an objective that has a teacher where there are no captions.

    Raises:
        ValueError: that is so.
    """
    if teacher_columns and not has_captions:
        raise ValueError(f"objective {objective!r} needs multimodal_dataset; objective='simcse' trains on text alone")


def _check_sources(rows: MixedRows, objective: str, teacher_columns: tuple[str, ...], period: Period) -> None:
    check_captions(objective, teacher_columns, bool(rows.caption_rows))
    if period is None and 0 < rows.text_rows <= rows.caption_rows:
        logger.warning(
            f"text_dataset ({rows.text_rows} rows) is no larger than multimodal_dataset ({rows.caption_rows} rows): "
            "with multimodal_period 'auto' the period is 1, every step is a caption step and the text is never read "
            "(Algorithm 1). Set multimodal_period to 2 or more to mix them"
        )


def _teacher_name(captions: CaptionFeatures | None) -> str | None:
    """Of a feature directory, whole or a part of it."""
    while isinstance(captions, CaptionSubset):
        captions = captions.source
    return captions.manifest["teacher"]["name"] if isinstance(captions, FeatureStore) else None


def _check_devices(args: KDMCSETrainingArguments) -> None:
    if args.n_gpu > 1:
        raise ValueError(
            f"{args.n_gpu} GPUs are visible to one process, whose batches would be torn apart: start by `accelerate "
            "launch --multi_gpu --num_processes N`, or set CUDA_VISIBLE_DEVICES=0"
        )


def _checked_length(max_length: int, limit: int) -> int:
    if max_length > limit:
        logger.warning(f"max_length is {max_length}: sentences are cut at {limit} tokens, what the encoder takes")
    return min(max_length, limit)


def _check_batch(config: KDMCSEConfig, args: KDMCSETrainingArguments) -> None:
    if args.per_device_train_batch_size * (args.world_size if config.gather_across_devices else 1) < 2:
        raise ValueError("a batch of 1 row has no negatives, so that there is no loss: take a larger batch")


def _held_out(
    captions: CaptionFeatures | None, model: KDMCSEModel, args: KDMCSETrainingArguments
) -> tuple[CaptionFeatures, Judges]:
    """The captions that are trained on, and those that judge the run."""
    if captions is None:
        raise ValueError(
            "there is nothing to judge the run by: give pairs to score (eval_dataset, stsb_path), captions of which "
            "some can be held out (multimodal_dataset), or set eval_strategy to no"
        )
    kept, held = hold_out(captions, args.seed if args.data_seed is None else args.data_seed)
    judge = HeldOutCaptions(held)
    check_held_out(judge, model)
    if args.metric_for_best_model == "eval_stsb_spearman":
        args.metric_for_best_model = "eval_retrieval_mrr"
    _check_metric(args, "retrieval", RETRIEVAL_SCORES)
    logger.warning(
        f"no pairs to score: {held.num_images} images with {len(held)} captions are held out of training, and the "
        "best model is chosen by retrieval among them"
    )
    return kept, {"retrieval": judge}


def _check_metric(args: KDMCSETrainingArguments, judge: str, names: tuple[str, ...]) -> None:
    metric, scored = args.metric_for_best_model, [f"eval_{judge}_{name}" for name in names]
    if metric is not None and f"eval_{metric.removeprefix('eval_')}" not in scored:
        raise ValueError(f"metric_for_best_model is {metric!r}: one of {', '.join(scored)} is needed")
