"""What the Trainer does about the Hub: a check at the start, a push of each new best, a last one at the end."""

import os
import shutil
from typing import TYPE_CHECKING

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy

from .background import BestPusher
from .process import Target
from .push import Pushed
from .staging import CARD_FILES

if TYPE_CHECKING:
    from ..trainer import KDMCSETrainer


class PushBest(TrainerCallback):
    """Hands each new best checkpoint, with its card, to the trainer's `BestPusher` (`hub_strategy: every_save`)."""

    def __init__(self, trainer: "KDMCSETrainer"):
        self.trainer = trainer

    def on_train_begin(self, args, state, control, **kwargs):
        """A run that was killed may not have got its best to the Hub; the same content makes no new commit."""
        best = state.best_model_checkpoint
        if self._is_on(args, state) and best and os.path.isfile(os.path.join(best, CARD_FILES[0])):
            self._submit(state, best)

    def on_save(self, args, state, control, **kwargs):
        """The evaluation of this step came just before, so the card tells the best's scores."""
        if not self._is_on(args, state) or state.best_global_step != state.global_step:
            return
        checkpoint = os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        try:
            self.trainer.create_model_card()
            for name in CARD_FILES:
                if os.path.isfile(os.path.join(args.output_dir, name)):
                    shutil.copyfile(os.path.join(args.output_dir, name), os.path.join(checkpoint, name))
        except OSError as error:  # no room: the checkpoint itself is written, so training can go on
            self.trainer.best_pusher.give_up(checkpoint, f"the card could not be written: {error}")
        else:
            self._submit(state, checkpoint)

    def _is_on(self, args, state) -> bool:
        return args.push_to_hub and state.is_world_process_zero and args.hub_strategy == HubStrategy.EVERY_SAVE

    def _submit(self, state, checkpoint: str) -> None:
        self.trainer.best_pusher.submit(checkpoint, _message(state, self.trainer.args))


def start_pushing(trainer: "KDMCSETrainer", token: str | None, private: bool | None) -> BestPusher:
    """Ask the Hub before training; called in all processes.

    Raises:
        ValueError: a repository name or branch that is not allowed; with `require_push`, any problem.
    """
    args = trainer.args
    target = Target(
        args.hub_model_id or os.path.basename(os.path.abspath(args.output_dir)),
        args.hub_revision or "main",
        args.hub_private_repo if private is None else private,
        token or args.hub_token,
    )
    pusher, problem = BestPusher(target, args.output_dir, args.push_timeout), [None]
    if trainer.is_world_process_zero():
        problem = [pusher.check(sum(weight.nbytes for weight in trainer.model.parameters()))]
        trainer.hub_model_id = pusher.target.repo_id
    if args.require_push:
        broadcast_object_list(problem)  # all processes end, so that none waits for another
        if problem[0]:
            raise ValueError(f"require_push: {problem[0]}")
    return pusher


def push_final(trainer: "KDMCSETrainer") -> Pushed:
    """Push the best model with its final card and verify it; called in the main process once it is saved."""
    args, state = trainer.args, trainer.state
    best = None if args.load_best_model_at_end else state.best_model_checkpoint
    pairs = next(iter((trainer.eval_dataset or {}).values()), None)
    columns = pairs and tuple(list(pairs[name]) for name in ("sentence1", "sentence2", "score"))
    return trainer.best_pusher.finish(best or args.output_dir, _message(state, args), columns)


def _message(state: TrainerState, args: TrainingArguments) -> str:
    if state.best_global_step is None:
        return f"Model of step {state.global_step}"
    return f"Best model: step {state.best_global_step}, {args.metric_for_best_model} {state.best_metric:.4f}"
