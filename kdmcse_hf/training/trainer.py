"""`KDMCSETrainer`: mixed training with STS-B dev as the judge, on the documented hooks of `transformers.Trainer`."""

import os

import datasets
import numpy as np
import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import DistributedType, gather_object
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput, IntervalStrategy, TrainOutput
from transformers.utils import logging

from ..card.model_card import TEMPLATE, write_card
from ..card.run_summary import STS_SCORES, RunSummary, changed_arguments
from ..data.batches import MixedRows, SentenceCollator, StsSentences
from ..data.held_out import CaptionSubset, HeldOutCaptions
from ..data.sampler import MixedBatchSampler
from ..encoding.encode_all import CPU_SENTENCES, encode_all
from ..encoding.loading import check_tokenizer
from ..encoding.precision import computed_in, evaluation_dtype
from ..encoding.sentence_encoder import tokenize
from ..encoding.support import attention_name
from ..encoding.token_limit import token_limit
from ..errors import InputError
from ..features.caption_features import CaptionFeatures
from ..features.store import FeatureStore
from ..hub.best_pusher import BestPusher
from ..hub.push import Pushed
from ..model.modeling_kdmcse import KDMCSEModel
from .checks import check_batch, check_devices, check_metric, check_sources, checked_length, held_out_judge
from .divergence import DivergedError, LossParts, has_diverged, has_finite_weights
from .heads_apart import keep_heads_apart, reduce_head_gradients
from .judges import Judges, judge_name, no_scores, scores
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
        diverged: why the last call of `train` ended early, as `simcse_loss of step 7 is nan`; also where weights or
            embeddings were not finite, or embeddings all the same. Nothing is saved from then on. Empty otherwise.
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
        check_devices(args)
        if processing_class is None:
            raise InputError("processing_class is missing: the encoder's tokenizer is needed")
        check_tokenizer(processing_class, model.encoder)
        limit = token_limit(model.encoder, processing_class)
        check_batch(model.config, args)
        if eval_dataset is None and args.eval_strategy != IntervalStrategy.NO:
            multimodal_dataset, eval_dataset = held_out_judge(multimodal_dataset, model, args)
        rows = MixedRows(text_dataset, multimodal_dataset)
        check_sources(rows, model.config.objective, model.objective.teacher_columns, args.period)
        if isinstance(eval_dataset, datasets.Dataset):
            eval_dataset = {"stsb": eval_dataset}
            check_metric(args, "stsb", STS_SCORES)
        self.pushed: Pushed | None = None
        self.diverged = ""
        self._push_best = PushBest(write_card=self.create_model_card)
        own: list[TrainerCallback] = [self._push_best]
        if args.early_stopping_patience is not None:
            own.append(EarlyStoppingCallback(args.early_stopping_patience))
        super().__init__(
            model=model,
            args=args,
            data_collator=SentenceCollator(
                processing_class,
                checked_length(max_length, limit),
                static=args.torch_compile and args.mini_batch_size is None,
            ),
            train_dataset=rows,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=[*own, *(callbacks or [])],
            optimizers=optimizers,
        )
        self._card_template, self.recipe = card_template, recipe or {}
        self._token_limit = limit
        self._parts = LossParts()
        self._tokens_of: dict[StsSentences | HeldOutCaptions, list[list[int]]] = {}
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
        return prepare_data_loader(
            loader,
            args.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            non_blocking=args.dataloader_pin_memory,  # nothing waits for a copy from pinned memory
        )

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs) -> TrainOutput:  # type: ignore[override]
        """As `ResumableTrainer.train`."""
        self.diverged = ""
        if self._has_ddp():
            keep_heads_apart(self.model)
        return super().train(resume_from_checkpoint, **kwargs)

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """Forward and backward of one batch; the step's last one brings the heads' gradients together."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._has_ddp() and self.accelerator.sync_gradients:
            reduce_head_gradients(self.model)
        if self._reads_at_once:
            self._look_for_divergence()
        return loss

    @property
    def _reads_at_once(self) -> bool:
        """Whether nothing has to be waited for where a loss is read: no device, no other process."""
        return self.args.device.type == "cpu" and self.args.world_size == 1

    def _has_ddp(self) -> bool:
        kinds = (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.MULTI_XPU)
        return self.accelerator.distributed_type in kinds  # of one process too, where a launcher has made it

    def compute_loss(self, model, inputs, return_outputs: bool = False, num_items_in_batch=None):
        """Loss of one batch; its parts, the output's fields `*_loss`, are remembered for the next log."""
        outputs = model(**inputs, mini_batch_size=self.args.mini_batch_size)
        parts = {name: part for name, part in outputs.items() if name.endswith("_loss")}
        self._parts.add(self.state.global_step + 1, parts)
        return (outputs.loss, outputs) if return_outputs else outputs.loss

    def _save_checkpoint(self, model, trial) -> None:
        """A model that has diverged is not worth going on from."""
        self._look_for_divergence()
        if not self.diverged and not self._has_finite_weights():
            self._stop_diverged("a weight is not finite")
        if not self.diverged:
            super()._save_checkpoint(model, trial)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As `Trainer.save_model`.

        Raises:
            DivergedError: a weight is not finite.
        """
        if not self._has_finite_weights():
            raise DivergedError(
                f"the model is not saved in {output_dir or self.args.output_dir}: a weight is not finite"
            )
        super().save_model(output_dir, _internal_call)

    def _has_finite_weights(self) -> bool:
        return all(gather_object([has_finite_weights(self.model)]))  # of sharded weights each process has a part

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add each part of the loss to the training log: its mean over the batches that had it, on all processes."""
        if "loss" in logs:
            self._look_for_divergence()
            logs |= {name: self.accelerator.reduce(mean, "mean").item() for name, mean in self._parts.means().items()}
        if logs.keys() & {"loss", "train_loss"}:
            self._parts.clear()
        super().log(logs, start_time)

    def _look_for_divergence(self) -> None:
        """End training where a part of the loss was not finite on any process since the last log."""
        found = min(filter(None, gather_object([self._parts.first_not_finite()])), key=str, default=None)
        if found is not None and not self.diverged:
            step, part, value = found
            self._stop_diverged(f"{part} of step {step} is {value}")

    def _stop_diverged(self, what: str) -> None:
        """Training ends after this step; nothing is saved from now on, and what was saved before stays."""
        best, args = self.state.best_model_checkpoint, self.args
        logger.warning(
            f"training has diverged and ends: {what}. "
            + (f"The best model so far, {best}, stays. " if best else "")
            + f"Take a smaller learning_rate (it is {args.learning_rate:g}) or more warmup_steps, or look for weights "
            "or features that are not finite"
        )
        self.diverged, self.control.should_training_stop = what, True

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        """Score as `Trainer.evaluate` does; training's random state stays as it was, however often it is scored.

        Training ends where the encoder has diverged; the best checkpoint before that stays.
        """
        with torch.random.fork_rng(devices=[]):
            return super().evaluate(*args, **kwargs)

    def get_eval_dataloader(  # type: ignore[override]
        self, eval_dataset: str | datasets.Dataset | HeldOutCaptions | None = None
    ) -> StsSentences | HeldOutCaptions:
        """The sentences of STS pairs or of held-out captions: `evaluation_loop` makes the batches."""
        judge = (self.eval_dataset or {})[eval_dataset] if isinstance(eval_dataset, str) else eval_dataset
        if isinstance(judge, HeldOutCaptions):
            return judge
        known = next((sentences for sentences in self._tokens_of if getattr(sentences, "source", None) is judge), None)
        return known or StsSentences(judge)

    def evaluation_loop(  # type: ignore[override]
        self,
        dataloader: StsSentences | HeldOutCaptions,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Embed a judge's sentences and score them: batches of equally many tokens, shared out over the processes."""
        judge, args = dataloader, self.args
        self.model.eval()
        if callable(score_weights := getattr(self.optimizer, "eval", None)):  # schedule-free optimizers have others
            score_weights()

        def embed(**inputs) -> torch.Tensor:
            return self.prediction_step(self.model, inputs, prediction_loss_only=False)[1]

        tokens = self._tokens(judge)
        batch_size = args.per_device_eval_batch_size
        if args.device.type == "cpu":
            batch_size = min(batch_size, CPU_SENTENCES)
        pad_token_id, progress = self.processing_class.pad_token_id, not args.disable_tqdm
        embeddings = encode_all(embed, tokens, pad_token_id, batch_size, progress)
        found = {f"{metric_key_prefix}_{name}": value for name, value in self._scores(judge, embeddings).items()}
        return EvalLoopOutput(predictions=embeddings, label_ids=None, metrics=found, num_samples=len(judge))

    def _tokens(self, judge: StsSentences | HeldOutCaptions) -> list[list[int]]:
        """Token ids of a judge's sentences, which are tokenised once in the life of the trainer."""
        if judge not in self._tokens_of:
            self._tokens_of[judge] = tokenize(self.processing_class, judge.texts, self._token_limit)
        return self._tokens_of[judge]

    def prediction_step(self, model, inputs, prediction_loss_only: bool, ignore_keys: list[str] | None = None):
        """Embed sentences (B, L), in `eval_dtype`: no loss, predictions (B, H), no labels."""
        inputs, kind = self._prepare_inputs(inputs), self.args.device.type
        dtype = evaluation_dtype(self.args.eval_dtype, kind, is_check=self.is_in_train)
        with torch.inference_mode(), computed_in(dtype, kind):
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # whose weights are there within `forward` alone
                views = {name: inputs.pop(name)[:, None] for name in ("input_ids", "attention_mask")}
                embeddings = model(**views, **inputs, return_loss=False).sentence_embeddings[:, 0]
            else:  # `forward` would compute in the dtype of training
                embeddings = model.embed(**inputs)
        return None, embeddings.float(), None

    def _scores(self, judge: StsSentences | HeldOutCaptions, embeddings: np.ndarray) -> dict[str, float]:
        """The scores of (m, H) embeddings of a judge's sentences; in training NaN where the encoder has diverged."""
        if not (self.is_in_train and has_diverged(embeddings)):
            return scores(judge, self.model, embeddings)
        self._look_for_divergence()
        if not self.diverged:
            self._stop_diverged("embeddings are not finite or the same for all sentences")
        return no_scores(judge)

    def run_record(self) -> dict:
        """What the run depends on, as its checkpoints keep it."""
        if len(found := set(gather_object([self._attention_name()]))) > 1:
            raise InputError(
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
        encoder = self.accelerator.unwrap_model(self.model).encoder
        return attention_name(encoder, args.device.type, dtype, in_slots=self.data_collator.static)

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


def _teacher_name(captions: CaptionFeatures | None) -> str | None:
    """Of a feature directory, whole or a part of it."""
    while isinstance(captions, CaptionSubset):
        captions = captions.source
    return captions.manifest["teacher"]["name"] if isinstance(captions, FeatureStore) else None
