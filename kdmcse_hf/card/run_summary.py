"""`RunSummary`: the facts of a training run that its model card tells, gathered by the Trainer."""

import dataclasses

import transformers

from ..model.configuration_kdmcse import KDMCSEConfig
from .recipe import is_private, portable

SCORES = ("spearman", "pearson", "alignment", "uniformity")
# Fields that TrainingArguments fills in from others or from the machine.
_DERIVED = ("do_eval", "greater_is_better", "disable_tqdm", "dataloader_pin_memory")


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """Everything that a model card says about a run.

    Args:
        config: of the model.
        encoder_class: name of the encoder's class, such as `BertModel`.
        name: of the model, its folder's name.
        repo_id: of its repository on the Hub, or the name again.
        recipe: keys of recipes/train.py that made the run, with their values; empty where it was made in Python.
        text_rows, caption_rows: sizes of the two training sets.
        teacher: name of the teacher, where the captions tell it.
        max_length: tokens of a training sentence.
        batch_size: rows of an optimizer step on all processes.
        world_size: number of processes.
        seed: of the run.
        run_values: arguments that differ from their defaults, by `changed_arguments`.
        dev_name: of the pairs that the checkpoint was chosen by.
        steps: optimizer steps that were made.
        best_step: step of the checkpoint that was restored; None where none was.
        history: the Trainer's log.
    """

    config: KDMCSEConfig
    encoder_class: str
    name: str
    repo_id: str
    recipe: dict
    text_rows: int
    caption_rows: int
    teacher: str | None
    max_length: int
    batch_size: int
    world_size: int
    seed: int
    run_values: dict
    dev_name: str
    steps: int
    best_step: int | None
    history: list[dict]

    def scores(self) -> dict[str, float]:
        """Spearman, Pearson, alignment and uniformity of the last evaluation of STS-B dev; empty without one."""
        for entry in reversed(self.history):
            if "eval_stsb_spearman" in entry:
                return {name: entry[f"eval_stsb_{name}"] for name in SCORES}
        return {}


def changed_arguments(args: transformers.TrainingArguments) -> dict[str, str | int | float | bool]:
    """Arguments that differ from their defaults, but for the seed, which the card names apart."""
    values = {}
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is None and value is False:  # as TrainingArguments leaves its switches
            continue
        if value != default and field.init and field.name not in ("seed", *_DERIVED) and not is_private(field.name):
            values[field.name] = portable(getattr(value, "value", value))
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}
