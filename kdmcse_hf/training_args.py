"""`KDMCSETrainingArguments`: how a run goes; what the objective is stands in the model's configuration."""

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.trainer_utils import HubStrategy


@dataclass
class KDMCSETrainingArguments(TrainingArguments):
    """`transformers.TrainingArguments` with the keys of mixed training.

    Defaults that differ from transformers': the model with the best STS-B dev Spearman is kept
    (`load_best_model_at_end`, `metric_for_best_model`), so there is an evaluation and a checkpoint every 125 steps as
    in Section 4.2 of the paper (`eval_strategy`, `eval_steps`, `save_steps`, by default as often as `eval_steps`), of
    which the best and the last stay (`save_total_limit`); losses are logged every 25 steps; STS pairs are encoded 128
    at once.

    Raises:
        ValueError: values out of range, with the values allowed.
    """

    multimodal_period: str = field(
        default="auto",
        metadata={"help": "A caption step every p-th step: a number, or auto = ceil(text rows / caption rows)."},
    )
    mini_batch_size: int | None = field(
        default=None, metadata={"help": "Rows encoded at once under gradient caching; null = off."}
    )
    auto_resume: bool = field(
        default=False, metadata={"help": "Go on from the newest whole checkpoint in output_dir, if there is one."}
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stop after so many evaluations without a better score; null = never."}
    )
    require_push: bool = field(
        default=False, metadata={"help": "With push_to_hub: refuse to train where the Hub would not take the model."}
    )
    push_timeout: float = field(
        default=1200.0, metadata={"help": "Seconds one push may take, and the end of training waits for the last."}
    )

    eval_strategy: str = field(default="steps", metadata={"help": "When to evaluate: no, steps or epoch."})
    eval_steps: float | None = field(default=125, metadata={"help": "Optimizer steps between evaluations."})
    save_steps: float | None = field(
        default=None, metadata={"help": "Optimizer steps between checkpoints; as eval_steps if not given."}
    )
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints that stay: the best and the last ones."}
    )
    load_best_model_at_end: bool = field(default=True, metadata={"help": "Restore the best checkpoint at the end."})
    metric_for_best_model: str | None = field(
        default="eval_stsb_spearman", metadata={"help": "What the best checkpoint is chosen by."}
    )
    logging_steps: float = field(default=25, metadata={"help": "Optimizer steps between logs of the losses."})
    per_device_eval_batch_size: int = field(default=128, metadata={"help": "STS sentences encoded at once a device."})
    restore_callback_states_from_checkpoint: bool = field(
        default=True, metadata={"help": "Early stopping goes on counting where the checkpoint was written."}
    )

    hub_strategy: str = field(
        default="every_save",
        metadata={"help": "every_save: push each new best checkpoint in the background, and at the end; end: once."},
    )
    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Leave false: rows hold sentences, which the collator turns into tensors."}
    )

    def __post_init__(self):
        if self.save_steps is None:
            self.save_steps = self.eval_steps or 500
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = not self.metric_for_best_model.endswith(("loss", "alignment", "uniformity"))
        if self.eval_strategy == "no":
            self.load_best_model_at_end = False  # without scores there is no best
        super().__post_init__()
        if self.device.type == "cpu":
            self.dataloader_pin_memory = False  # there is nothing to pin for, and torch would warn of it
        self.period  # noqa: B018 - raises where it is no period
        if self.mini_batch_size is not None and self.mini_batch_size < 1:
            raise ValueError(f"mini_batch_size is {self.mini_batch_size}: at least 1 row, or null (off)")
        if self.auto_resume and self.save_only_model:
            raise ValueError("auto_resume needs checkpoints with their optimizer: set save_only_model to false")
        if self.push_to_hub and self.hub_strategy not in (HubStrategy.EVERY_SAVE, HubStrategy.END):
            raise ValueError(
                f"hub_strategy is {self.hub_strategy.value!r}: optimizer states are not pushed. Take 'every_save' "
                "(each new best) or 'end'; auto_resume goes on from the checkpoints in output_dir"
            )

    @property
    def period(self) -> int | None:
        """p of Algorithm 1, or None for auto."""
        if self.multimodal_period == "auto":
            return None
        if not str(self.multimodal_period).isdecimal() or int(self.multimodal_period) < 1:
            raise ValueError(
                f"multimodal_period is {self.multimodal_period!r}: auto or a whole number from 1 is needed"
            )
        return int(self.multimodal_period)
