"""What training does about the Hub: a check at the start, a push of each new best, a last one at the end."""

import os
import pathlib
import shutil
from collections.abc import Callable

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, HubStrategy

from ..errors import InputError
from ..hub.best_pusher import BestPusher
from ..hub.compare import Pairs
from ..hub.push import Pushed
from ..hub.repository_files import CARD_FILES, refuse_links_to_elsewhere
from ..hub.worker_client import Target
from .training_args import KDMCSETrainingArguments


class PushBest(TrainerCallback):
    """Hands each new best checkpoint, with its card, to a `BestPusher` (`hub_strategy: every_save`).

    Args:
        write_card: writes the card of the model as it stands into `output_dir`.

    Attributes:
        pusher: set before training where `push_to_hub` says so.
    """

    def __init__(self, write_card: Callable[[], None]):
        self._write_card = write_card
        self.pusher: BestPusher | None = None

    def on_train_begin(self, args, state, control, **kwargs):
        """A run that was killed may not have got its best to the Hub; the same content makes no new commit."""
        best, pusher = state.best_model_checkpoint, self._active(args, state)
        if pusher and best and os.path.isfile(os.path.join(best, CARD_FILES[0])):
            pusher.submit(best, _message(state, args))

    def on_save(self, args, state, control, **kwargs):
        """The evaluation of this step came just before, so the card tells the best's scores."""
        pusher = self._active(args, state)
        if pusher is None or state.best_global_step != state.global_step:
            return
        checkpoint = os.path.join(args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")
        try:
            refuse_links_to_elsewhere(pathlib.Path(args.output_dir), CARD_FILES)
            self._write_card()
            for name in CARD_FILES:
                if os.path.isfile(os.path.join(args.output_dir, name)):
                    shutil.copyfile(os.path.join(args.output_dir, name), os.path.join(checkpoint, name))
        except (OSError, ValueError) as error:  # no room, a link: the checkpoint itself is written, training can go on
            pusher.give_up(checkpoint, f"the card could not be written: {error}")
        else:
            pusher.submit(checkpoint, _message(state, args))

    def _active(self, args, state) -> BestPusher | None:
        """The pusher, where this process is the one that pushes each new best."""
        on = args.push_to_hub and args.hub_strategy == HubStrategy.EVERY_SAVE and state.is_world_process_zero
        return self.pusher if on else None


def start_pushing(
    args: KDMCSETrainingArguments, model_bytes: int, is_main_process: bool, token: str | None, private: bool | None
) -> BestPusher:
    """Ask the Hub before training; called in all processes.

    Args:
        args: name repository, branch, visibility and token.
        model_bytes: size of the weights.
        is_main_process: the one process that asks.
        token, private: in place of the arguments' own, where they are given.

    Raises:
        ValueError: a repository name or branch that is not allowed; with `require_push`, any problem.
    """
    target = Target(
        args.hub_model_id or os.path.basename(os.path.abspath(args.output_dir)),
        args.hub_revision or "main",
        args.hub_private_repo if private is None else private,
        token or args.hub_token,
    )
    pusher = BestPusher(target, args.output_dir, args.push_timeout)
    problem = [pusher.check(model_bytes) if is_main_process else None]
    if args.require_push:
        broadcast_object_list(problem)  # all processes end, so that none waits for another
        if problem[0]:
            raise InputError(f"require_push: {problem[0]}")
    return pusher


def push_final(pusher: BestPusher, args: KDMCSETrainingArguments, state: TrainerState, pairs: Pairs | None) -> Pushed:
    """Push the best model with its final card and verify it; called in the main process once it is saved."""
    best = None if args.load_best_model_at_end else state.best_model_checkpoint
    return pusher.finish(best or args.output_dir, _message(state, args), pairs)


def _message(state: TrainerState, args: TrainingArguments) -> str:
    if state.best_global_step is None:
        return f"Model of step {state.global_step}"
    return f"Best model: step {state.best_global_step}, {args.metric_for_best_model} {state.best_metric:.4f}"
