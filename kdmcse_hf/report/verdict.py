"""Whether a run helped: one judgement, in the same words in the terminal and on the page."""

from dataclasses import dataclass, field

from .history import ENOUGH_ROWS, Outcome
from .html import figure_text


@dataclass
class Verdict:
    """Whether training helped, in sentences; `kind` is `better`, `worse` or `unknown`.

    `causes` and `next_command` are there where it did not.
    """

    kind: str
    text: str
    causes: list[str] = field(default_factory=list)
    next_command: str = ""


@dataclass(frozen=True)
class RunFacts:
    """What the likely causes depend on.

    Args:
        title: of the score, with what it is measured on.
        recipe: the file of the run's keys, for the next command.
        learning_rate: of the run; None if that is not known.
        has_captions: whether it was trained on captions.
        pooling: where the key was given.
    """

    title: str
    recipe: str
    learning_rate: float | None = None
    has_captions: bool = False
    pooling: str | None = None


def judge(found: Outcome | None, facts: RunFacts) -> Verdict:
    """The judgement of a run by the scores before, at the best step and at the end."""
    if found is None or found.last is None:
        return Verdict("unknown", "The log holds no score of the trained model: nothing says whether training helped.")
    if found.best is None:
        return _with_advice("No score of the trained model is a number: the run diverged.", facts)
    step, scores = found.best
    best = figure_text(scores[found.score])
    if found.before is None:
        text = f"{facts.title} is {best} at step {step}. No score before training (step 0) is in the log, so nothing "
        return Verdict("unknown", text + "says whether training helped; eval_on_start: true measures it.")
    start, gain = figure_text(found.before[1][found.score]), found.gain(found.best) or 0.0
    change = f"{facts.title} was {start} before training, {best} at its best, after step {step}"
    if (doubt := _doubt(found, gain)) is not None:
        return Verdict("unknown", doubt.format(change=change))
    if gain < 0:
        text = f"Worse than the start by {figure_text(-gain)}: {change}. Keep the model that you started from, unless "
        return _with_advice(text + "another measure says otherwise.", facts)
    return Verdict("better", f"Better than the start by {figure_text(gain)}: {change}.{_of_the_end(found)}")


def _doubt(found: Outcome, gain: float) -> str | None:
    """Why the scores say neither that training helped nor that it harmed, with a place for `change`; None: they do."""
    if found.could_not_rise():
        return (
            "{change}. It could not rise: nothing says whether training helped. Take more captions or pairs, or "
            "another measure."
        )
    if (noise := found.noise()) is not None:
        return (
            f"Too few rows to tell: {{change}}. Only {found.rows} judge this run, and so few know a score to about "
            f"±{noise:.0f}. Take {ENOUGH_ROWS} or more, or STS-B."
        )
    if figure_text(gain) == "0.00":
        return (
            "No better than the start: {change}. The run was too short, its learning rate too small, or there was "
            "nothing to gain. Train for longer before you judge."
        )
    return None


def _of_the_end(found: Outcome) -> str:
    """What to say of a run whose end is worse than its start; NaN, of a run that diverged, is worse too."""
    gain = found.gain(found.last)
    if found.last is None or gain is None or gain >= 0:
        return ""
    step, scores = found.last
    return (
        f" But the last evaluation, {figure_text(scores[found.score])} after step {step}, is worse than the start: "
        "training went on too long, or its learning rate is too high."
    )


def _with_advice(text: str, facts: RunFacts) -> Verdict:
    """A run that harmed, with the likely causes, the first of them first, and the command that tries its remedy."""
    rate = facts.learning_rate
    lower = f" of {rate:g} is too high: try {rate / 3:.1g}" if rate else " is too high: try a third of it"
    causes = [f"the learning rate{lower}"]
    if facts.pooling is not None:
        key = f"pooling was set to {facts.pooling}: without that key it is the one that the encoder was made with"
        causes.append(key)
    causes += [
        "the encoder was made by more or better data than these: unsupervised training then takes away",
        "too few different sentences, or near duplicates in one batch, which are false negatives",
    ]
    if facts.has_captions:
        causes += [
            "the captions pull it to their own kind of sentence: try a larger multimodal_period",
            "the teacher is no help: `kdmcse inspect-teacher FEATURES` judges it",
        ]
    key = f" --learning_rate {rate / 3:.1g}" if rate else ""
    return Verdict("worse", text, causes, f"kdmcse train {facts.recipe} --output_dir ANOTHER_DIRECTORY{key}")
