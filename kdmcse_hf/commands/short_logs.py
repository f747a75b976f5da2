"""Trainer's log on the terminal: a short line in place of a dictionary."""

from tqdm.auto import tqdm
from transformers import ProgressCallback, Trainer

# What stands in the closing table, in trainer_state.json and on the page, or is told by the bar beside.
_LEFT_OUT = ("_runtime", "_per_second", "epoch", "total_flos", "train_loss")
_TIMES_100 = ("spearman", "pearson", "mrr", "_at_1")


class ShortLogs(ProgressCallback):
    """`ProgressCallback` with one short line a log."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if state.is_world_process_zero and self.training_bar is not None and (line := log_line(logs or {})):
            tqdm.write(f"step {state.global_step:>6}  {line}")


def log_line(logs: dict) -> str:
    """The figures of one log.

    >>> log_line({"loss": 0.53127, "learning_rate": 3e-05, "epoch": 0.1}), log_line({"eval_stsb_spearman": 71.234})
    ('loss 0.5313  learning_rate 3e-05', 'stsb_spearman 71.23')
    """
    figures = []
    for name, value in logs.items():
        if not name.endswith(_LEFT_OUT):
            form = ".2f" if name.endswith(_TIMES_100) else ".4g"
            figures.append(f"{name.removeprefix('eval_')} {float(value):{form}}")
    return "  ".join(figures)


def show_short_logs(trainer: Trainer) -> None:
    """Put `ShortLogs` where Trainer has its own; `disable_tqdm` leaves none to replace."""
    if trainer.pop_callback(ProgressCallback) is not None:
        trainer.add_callback(ShortLogs)
