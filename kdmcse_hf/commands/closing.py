"""The last lines of a training: the score before, at best and at the end, and whether the run helped."""

from ..card.run_summary import RunSummary
from ..report.history import ENOUGH_ROWS, judge_parts, outcome

_NAMES = {"spearman": "Spearman", "mrr": "MRR"}


def closing_lines(run: RunSummary, learning_rate: float) -> list[str]:
    """A small table, and plain words where the model is worse than the start.

    Args:
        run: its history holds the score of each evaluation.
        learning_rate: of the run, named where it may have been too high.
    """
    state = {"log_history": run.history, "best_global_step": run.best_step}
    found = outcome(state, run.metric, rows=judge_parts(run.dev_name)[1])
    if found is None:
        return ["not evaluated (eval_strategy: no)"]
    moments = (("before", found.before), ("best", found.best), ("last", found.last))
    lines = [f"{run.dev_name}, {_NAMES[run.metric.rpartition('_')[2]]} x100"]
    for label, which in moments:
        if which is not None:
            lines.append(f"  {label:<8}step {which[0]:>6}{which[1][run.metric]:>9.2f}")
    gain, noise = found.gain(found.best), found.noise()
    if found.could_not_rise():
        lines.append(
            "The score was the largest possible before training and still is, so it cannot tell whether the run "
            "helped. Take more captions or pairs, or another measure."
        )
    elif noise is not None:
        lines.append(
            f"Only {found.rows} rows judge this run, and so few know a score to about ±{noise:.0f}: a difference of "
            f"{gain:+.2f} says neither that it helped nor that it harmed. Take {ENOUGH_ROWS} pairs or more, or STS-B."
        )
    elif gain is not None and gain <= 0:
        lines += _worse(run, -gain, learning_rate)
    return lines


def _worse(run: RunSummary, by: float, learning_rate: float) -> list[str]:
    """What to think of, most likely first."""
    causes = [f"the learning rate of {learning_rate:g} is too high: try --learning_rate {learning_rate / 3:.1g}"]
    causes.append("the encoder was made by more or better data than these: unsupervised training then takes away")
    if run.caption_rows:
        causes.append("the captions pull it to their own kind of sentence: try a larger --multimodal_period")
        causes.append("the teacher is no help: kdmcse inspect-teacher FEATURES judges it")
    what = "not better than the start" if by == 0 else f"worse than the start by {by:.2f}"
    return [
        f"The trained model is {what}. Keep the model that you started from, unless another measure says otherwise.",
        "Likely causes:",
        *(f"  - {cause}" for cause in causes),
    ]
