"""`kdmcse train --help`: the keys by what they are for; transformers' own behind `--help-all`."""

import argparse

from transformers import HfArgumentParser

from ..training.training_args import KDMCSETrainingArguments

# Of transformers' TrainingArguments, those that most runs set.
_USUAL = (
    "output_dir",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "seed",
    "bf16",
    "fp16",
    "tf32",
    "gradient_checkpointing",
    "dataloader_num_workers",
    "report_to",
    "resume_from_checkpoint",
)
_HUB = ("hub_", "push_", "require_push")


def arrange(parser: HfArgumentParser, show_all: bool) -> None:
    """Group the keys of training and of the Hub, and leave transformers' other ones out of the help unless `show_all`.

    Args:
        parser: of the training command; what it reads does not change.
        show_all: whether `--help-all` asked.
    """
    own = set(KDMCSETrainingArguments.__annotations__) | set(_USUAL)
    training = next(group for group in parser._action_groups if group.title == "training")
    groups = {name: parser.add_argument_group(name) for name in ("Hub", "transformers")}
    for action in list(training._group_actions):
        if action.dest.startswith(_HUB):
            _move(action, training, groups["Hub"])
        elif action.dest not in own:
            _move(action, training, groups["transformers"])
            if not show_all:
                action.help = argparse.SUPPRESS


def _move(action: argparse.Action, source: argparse._ArgumentGroup, target: argparse._ArgumentGroup) -> None:
    source._group_actions.remove(action)
    target._group_actions.append(action)
