"""`RunSummary`: the facts of a training run that its model card reports. The Trainer fills it in."""

import dataclasses

import transformers

from ..model.configuration_kdmcse import KDMCSEConfig
from .recipe import is_private, portable

# What an evaluation of STS pairs gives, and one of held-out captions; a checkpoint is chosen by the first by default.
STS_SCORES = ("spearman", "pearson", "alignment", "uniformity")
RETRIEVAL_SCORES = ("mrr", "recall_at_1")
# Arguments that TrainingArguments derives from other arguments or from the machine.
_DERIVED = ("do_eval", "greater_is_better", "disable_tqdm", "dataloader_pin_memory")


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """The facts of a run that its model card reports.

    Args:
        config: configuration of the model.
        encoder_class: name of the encoder's class, such as `BertModel`.
        name: name of the model: that of its folder.
        repo_id: id of its repository on the Hub; `name` if it has none.
        recipe: keys of recipes/train.py that were set, with their values; empty for a run that was started in Python.
        text_rows, caption_rows: sizes of the two training sets.
        teacher: name of the teacher; None if the caption dataset does not say.
        max_length: most tokens of a training sentence.
        attention: what computed it in training, such as `sdpa_by_length, packed`.
        batch_size: rows of one optimizer step, on all processes together.
        world_size: number of processes.
        seed: seed of the run.
        run_values: arguments that differ from their defaults, from `changed_arguments`.
        judge: what the checkpoint was chosen by, as the log has it: `stsb`, or `retrieval` among held-out captions.
        dev_name: the same in words.
        steps: number of optimizer steps so far.
        best_step: step of the checkpoint that was restored; None if none was.
        history: `log_history` of the Trainer's state.
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
    attention: str
    batch_size: int
    world_size: int
    seed: int
    run_values: dict
    judge: str
    dev_name: str
    steps: int
    best_step: int | None
    history: list[dict]

    def scores(self) -> dict[str, float]:
        """What the last evaluation gave, by name; empty without one."""
        return self._scores_of(next((entry for entry in reversed(self.history) if self.metric in entry), {}))

    def scores_before(self) -> dict[str, float]:
        """What the evaluation before training gave; empty without one."""
        return self._scores_of(next((e for e in self.history if self.metric in e and e["step"] == 0), {}))

    @property
    def metric(self) -> str:
        """Key of the log that curves show: `eval_stsb_spearman` or `eval_retrieval_mrr`."""
        return f"eval_{self.judge}_{self._names[0]}"

    @property
    def _names(self) -> tuple[str, ...]:
        return RETRIEVAL_SCORES if self.judge == "retrieval" else STS_SCORES

    def _scores_of(self, entry: dict) -> dict[str, float]:
        return {name: entry[f"eval_{self.judge}_{name}"] for name in self._names if entry}


def changed_arguments(args: transformers.TrainingArguments) -> dict[str, str | int | float | bool]:
    """Arguments that differ from their defaults, without the seed, which the card reports separately."""
    values = {}
    for field in dataclasses.fields(args):
        value = getattr(args, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if default is None and value is False:  # TrainingArguments turns an unset switch into False
            continue
        if value != default and field.init and field.name not in ("seed", *_DERIVED) and not is_private(field.name):
            values[field.name] = portable(getattr(value, "value", value))
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}
