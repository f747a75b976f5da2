"""The training curve of a model card: losses and the score on STS pairs by optimizer step."""

import pathlib

CURVE_NAME = "training_curve.png"
_NOT_PARTS = ("train_loss", "eval_loss")
_LABELS = {"spearman": "Spearman", "mrr": "mean reciprocal rank"}


def draw_curve(history: list[dict], directory: str | pathlib.Path, metric: str, pairs: str) -> bool:
    """Draw the log of a run into `training_curve.png`.

    Args:
        history: `log_history` of the Trainer's state.
        directory: folder of the repository.
        metric: key of the log by which the checkpoint was chosen.
        pairs: name of what was scored.

    Returns:
        Whether the file was written: not without matplotlib, and not if no curve has two points.
    """
    parts = dict.fromkeys(name for entry in history for name in entry if name.endswith("_loss"))
    curves = {
        name.removesuffix("_loss").replace("_", " "): points
        for name in parts
        if name not in _NOT_PARTS and len(points := _points(history, name)) > 1
    }
    scores = _points(history, metric)
    try:
        from matplotlib.figure import Figure
    except ImportError:  # matplotlib is optional; never fail a finished run over a plot
        return False
    panels = bool(curves) + (len(scores) > 1)
    if not panels:
        return False
    figure = Figure(figsize=(5.2 * panels, 3.6), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    if curves:
        panel = axes.pop(0)
        for label, points in curves.items():
            panel.plot(*zip(*points, strict=True), label=label)
        panel.set(xlabel="step", ylabel="loss, unweighted")
        panel.legend(frameon=False)
    if axes:
        axes[0].plot(*zip(*scores, strict=True), color="black", marker=".")
        axes[0].set(xlabel="step", ylabel=f"{pairs}, {_LABELS[metric.rpartition('_')[2]]} x100")
    figure.savefig(pathlib.Path(directory, CURVE_NAME), dpi=110, metadata={"Software": None})
    return True


def _points(history: list[dict], name: str) -> list[tuple[int, float]]:
    """(step, value) pairs, the first of each step: at the end the best model is scored again, at the last step."""
    return sorted({entry["step"]: entry[name] for entry in reversed(history) if name in entry}.items())
