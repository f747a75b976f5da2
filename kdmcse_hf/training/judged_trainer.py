"""A Trainer whose runs are judged: by losses that must be finite, and by the scores of pairs or held-out captions."""

from typing import Any

import datasets
import numpy as np
import torch
from accelerate.utils import gather_object
from transformers.trainer_utils import EvalLoopOutput, IntervalStrategy, TrainOutput
from transformers.utils import logging

from ..data.batches import StsSentences
from ..data.held_out import HeldOutCaptions
from ..encoding.encode_all import CPU_SENTENCES, encode_all
from ..encoding.precision import computed_in, evaluation_dtype
from ..encoding.sentence_encoder import tokenize
from .divergence import DivergedError, LossParts, has_diverged, has_finite_weights
from .judges import Judges, judge_name, no_scores, scores
from .resumable_trainer import ResumableTrainer

logger = logging.get_logger(__name__)


class JudgedTrainer(ResumableTrainer):
    """A `ResumableTrainer` that scores by `judges`, and ends a run that has diverged without saving it.

    Args:
        token_limit: tokens of a judge's sentence, the rest is cut.
        kwargs: as for `ResumableTrainer`.

    Attributes:
        parts: of the loss since the last log; `compute_loss` adds to them.
        diverged: why the last call of `train` ended early, or empty.
    """

    eval_dataset: Judges | None

    def __init__(self, token_limit: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.parts, self.diverged = LossParts(), ""
        self._token_limit = token_limit
        is_sharded, args = self.is_fsdp_enabled or self.is_deepspeed_enabled, self.args
        if is_sharded and (args.bf16 or args.fp16) and args.eval_strategy != IntervalStrategy.NO:
            logger.warning(
                "sharded weights are scored in the precision of training: eval_dtype has no effect. Score the model "
                "that is saved by recipes/evaluate.py for figures in float32"
            )
        self._tokens_of: dict[StsSentences | HeldOutCaptions, list[list[int]]] = {}

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs) -> TrainOutput:  # type: ignore[override]
        """As `ResumableTrainer.train`."""
        self.diverged = ""
        return super().train(resume_from_checkpoint, **kwargs)

    @property
    def reads_at_once(self) -> bool:
        """Whether nothing has to be waited for where a loss is read: no device, no other process."""
        return self.args.device.type == "cpu" and self.args.world_size == 1

    def _save_checkpoint(self, model, trial) -> None:
        """A model that has diverged is not worth going on from."""
        self.look_for_divergence()
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
            self.look_for_divergence()
            logs |= {name: self.accelerator.reduce(mean, "mean").item() for name, mean in self.parts.means().items()}
        if logs.keys() & {"loss", "train_loss"}:
            self.parts.clear()
        super().log(logs, start_time)

    def look_for_divergence(self) -> None:
        """End training where a part of the loss was not finite on any process since the last log."""
        found = [each for each in gather_object([self.parts.first_not_finite()]) if each]
        if found and not self.diverged:
            step, part, value = min(found, key=lambda each: each[:2])
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
        # The score before training is published too, and so are all where each new best is pushed.
        is_check = self.is_in_train and self.state.global_step > 0 and not self.args.push_to_hub
        dtype = evaluation_dtype(self.args.eval_dtype, kind, is_check)
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
        self.look_for_divergence()
        if not self.diverged:
            self._stop_diverged("embeddings are not finite or the same for all sentences")
        return no_scores(judge)

    @property
    def dev_name(self) -> str:
        """How to speak of what the checkpoint is chosen by: the first of the sets that are scored."""
        return judge_name(next(iter((self.eval_dataset or {}).values()), None))
