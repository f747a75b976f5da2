"""What a run's log says: losses and scores over the steps, and the scores before, at the best step and at the end."""

import math
import re
from dataclasses import dataclass

_USUAL_SCORE = "eval_stsb_spearman"
_NO_SCORES = ("runtime", "_per_second", "compilation_time", "preparation_time")
_LOWER_IS_BETTER = ("loss", "alignment", "uniformity")

LARGEST = 100.0  # of Spearman and of MRR, x100
ENOUGH_ROWS = 200  # pairs, or captions, of which a score is known to about 10 points; from here on no caution is added

Points = list[tuple[int, float]]  # (step, value), by step


@dataclass
class Outcome:
    """The score that chose the checkpoint, before training, at its best and at the last evaluation of training.

    Each of the three is a pair of step and evaluation (all scores of that step by their name in the log), or None.
    `rows` are the pairs, or captions, that the score is of; None where they are not known, or are those of STS-B.
    """

    score: str
    before: tuple[int, dict] | None
    best: tuple[int, dict] | None
    last: tuple[int, dict] | None
    rows: int | None = None

    def gain(self, which: tuple[int, dict] | None) -> float | None:
        """How much better a score is than the one before training; negative: worse. None: not known."""
        if self.before is None or which is None:
            return None
        difference = which[1].get(self.score, math.nan) - self.before[1].get(self.score, math.nan)
        return difference if higher_is_better(self.score) else -difference

    def noise(self) -> float | None:
        """Where few rows judge and the gain is no larger: how well the score before training is known, `half_width`.

        None where there are rows enough, their number is not known, or the gain is larger than that.
        """
        gain = self.gain(self.best)
        if self.rows is None or self.rows >= ENOUGH_ROWS or self.before is None or gain is None:
            return None
        width = half_width(self.score, self.before[1][self.score], self.rows)
        return width if abs(gain) <= width else None

    def could_not_rise(self) -> bool:
        """Whether the score had its largest value before training and still has it, so that it judges nothing."""
        if self.before is None or not self.score.endswith(("spearman", "mrr")):
            return False
        return self.gain(self.best) == 0 and self.before[1][self.score] == LARGEST


def half_width(score: str, value: float, rows: int) -> float:
    """Half the width of the 95 % confidence interval of a score x100 that is measured on so many rows.

    Of a Spearman correlation by Fisher's z with the variance (1 + r^2 / 2) / (n - 3) (Bonett and Wright, 2000). Of MRR
    and recall, means of values between 0 and 1, by the largest variance that such a mean allows, m (1 - m) / n.
    """
    share = min(abs(value) / 100, 0.99)
    if score.endswith(("spearman", "pearson")):
        return 100 * (1 - share**2) * 1.96 * math.sqrt((1 + share**2 / 2) / max(rows - 3, 1))
    return 100 * 1.96 * math.sqrt(share * (1 - share) / rows)


def judge_of(state: dict) -> tuple[str | None, int | None]:
    """What a run was judged by, as its record has it: the name, and the rows where the name tells them."""
    return judge_parts(record_of(state).get("judge"))


def record_of(state: dict) -> dict:
    """What the run depended on, as its checkpoints keep it; empty for a run of an earlier version."""
    return state.get("stateful_callbacks", {}).get("RunRecord", {}).get("args", {}).get("record", {})


def judge_parts(judge: str | None) -> tuple[str | None, int | None]:
    """Name and number of rows of a judge.

    >>> judge_parts("own pairs (8)"), judge_parts("STS-B dev")
    (('own pairs', 8), ('STS-B dev', None))
    """
    found = re.fullmatch(r"(.+) \((\d+)\)", judge or "")
    return (found[1], int(found[2])) if found else (judge, None)


def loss_names(history: list[dict]) -> list[str]:
    """The weighted sum `loss` and its parts, in the order in which they were first logged."""
    names = dict.fromkeys(name for entry in history for name in entry if _is_loss(name))
    return sorted(names, key=lambda name: name != "loss")


def _is_loss(name: str) -> bool:
    return name == "loss" or (name.endswith("_loss") and not name.startswith(("eval_", "train_")))


def points(entries: list[dict], name: str) -> Points:
    """The values of one name over the steps, the first of each step."""
    return sorted({entry["step"]: entry[name] for entry in reversed(entries) if name in entry}.items())


def evaluations(history: list[dict]) -> list[dict]:
    """The evaluations of training, one entry a step with all its scores, by step.

    After training the best checkpoint is restored and scored again, which Trainer logs at the last step: such entries
    follow the one with `train_runtime` and belong to no step of the curve. They count where there is no other.
    """
    ends = [number for number, entry in enumerate(history) if "train_runtime" in entry]
    found = _merged(history[: ends[-1]] if ends else history)
    return found or _merged(history)


def _merged(entries: list[dict]) -> list[dict]:
    """Trainer logs each evaluation set apart: one entry a step, the first value of each name."""
    steps: dict[int, dict] = {}
    for entry in entries:
        if scores := {name: value for name, value in entry.items() if _is_score(name)}:
            step = entry["step"]
            steps[step] = {"step": step} | scores | steps.get(step, {})
    return [steps[step] for step in sorted(steps)]


def _is_score(name: str) -> bool:
    return name.startswith("eval_") and not name.endswith(_NO_SCORES)


def score_names(evaluated: list[dict]) -> list[str]:
    """The names of all scores in evaluations."""
    return list(dict.fromkeys(name for entry in evaluated for name in entry if name != "step"))


def higher_is_better(score: str) -> bool:
    """Whether a score is the better the higher it is."""
    return not score.endswith(_LOWER_IS_BETTER)


def chosen_score(state: dict, evaluated: list[dict]) -> str | None:
    """The score that chose the best checkpoint: the one whose value is the state's `best_metric`, else the usual."""
    names = score_names(evaluated)
    names.sort(key=lambda name: (name != _USUAL_SCORE, not name.endswith("spearman")))
    best = [entry for entry in evaluated if entry["step"] == state.get("best_global_step")]
    equal = [name for name in names for entry in best if entry.get(name) == state.get("best_metric")]
    return next(iter([*equal, *names]), None)


def outcome(state: dict, score: str | None = None, rows: int | None = None) -> Outcome | None:
    """The scores before, best and last of a trainer's state; None without any evaluation.

    Args:
        state: of the trainer, as `trainer_state.json` has it.
        score: its name in the log; by default the one that chose the best checkpoint.
        rows: that judge the run; by default those that the record of the run tells.
    """
    evaluated = evaluations(state.get("log_history", []))
    score = chosen_score(state, evaluated) if score is None else score
    known = [entry for entry in evaluated if score in entry]
    if score is None or not known:
        return None
    trained = [entry for entry in known if entry["step"] > 0]
    before = next((entry for entry in known if entry["step"] == 0 and not math.isnan(entry[score])), None)
    return Outcome(
        score,
        before=_with_step(before),
        best=_with_step(_best(trained, score, state.get("best_global_step"))),
        last=_with_step(trained[-1] if trained else None),
        rows=judge_of(state)[1] if rows is None else rows,
    )


def _best(trained: list[dict], score: str, chosen_step: int | None) -> dict | None:
    """The evaluation that Trainer chose, else the best one; NaN is never the best."""
    numbers = [entry for entry in trained if not math.isnan(entry[score])]
    if chosen := [entry for entry in numbers if entry["step"] == chosen_step]:
        return chosen[0]
    best = max if higher_is_better(score) else min
    return best(numbers, key=lambda entry: entry[score], default=None)


def _with_step(entry: dict | None) -> tuple[int, dict] | None:
    return None if entry is None else (entry["step"], entry)
