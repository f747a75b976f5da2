"""The last lines of a training: the score before, at best and at the end, and whether the run helped."""

from ..card.run_summary import RunSummary

_NAMES = {"spearman": "Spearman", "mrr": "MRR"}


def closing_lines(run: RunSummary, learning_rate: float) -> list[str]:
    """A small table, and plain words where the model is worse than the start.

    Args:
        run: its history holds the score of each evaluation.
        learning_rate: of the run, named where it may have been too high.
    """
    points: dict[int, float] = {}
    for entry in run.history:  # the best is scored once more at the end, at a step that is not its own
        if run.metric in entry:
            points.setdefault(entry["step"], entry[run.metric])
    if not points:
        return ["not evaluated (eval_strategy: no)"]
    trained = {step: score for step, score in points.items() if step > 0}
    rows = [("before", 0, points[0])] if 0 in points else []
    if trained:
        best = run.best_step if run.best_step in trained else max(trained, key=trained.__getitem__)
        rows += [("best", best, trained[best]), ("last", max(trained), trained[max(trained)])]
    name = f"{run.dev_name}, {_NAMES[run.metric.rpartition('_')[2]]} x100"
    lines = [name, *(f"  {label:<8}step {step:>6}{score:>9.2f}" for label, step, score in rows)]
    if 0 in points and trained and trained[best] <= points[0]:
        lines += _worse(run, points[0] - trained[best], learning_rate)
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
