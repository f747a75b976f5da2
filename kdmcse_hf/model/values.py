"""`Value`: one number or word that an objective is set by, with what is allowed for it."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Value:
    """A value of an objective: kept in the model's configuration, and a key of the training command.

    Args:
        default: where nothing is given; with None, None is allowed and its meaning stands in `help`.
        help: one sentence for users.
        type: float (which takes whole numbers too), int, bool or str.
        choices: what a str may be.
        least, above, below: range of a number; it must be finite in any case.
    """

    default: Any
    help: str
    type: type = float
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    below: float | None = None

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError, naming what is allowed, where `value` cannot be that of `name`."""
        if value is None and self.default is None:
            return
        if not self._fits(value):
            raise ValueError(f"{name} is {value!r}: {self.allowed()} is needed")

    def allowed(self) -> str:
        """What may stand for it, in words."""
        if self.type is bool:
            return "true or false"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = {int: "a whole number", float: "a finite number", str: "a text"}[self.type]
        limits = (("of at least", self.least), ("above", self.above), ("below", self.below))
        ranges = " and ".join(f"{words} {limit:.4g}" for words, limit in limits if limit is not None)
        return " ".join(filter(None, [kind, ranges])) + (", or null," if self.default is None else "")

    def _fits(self, value: Any) -> bool:
        if isinstance(value, bool) or self.type is bool:
            return isinstance(value, bool) and self.type is bool
        if self.type is str:
            return isinstance(value, str) and (not self.choices or value in self.choices)
        if not isinstance(value, int if self.type is int else int | float) or not math.isfinite(value):
            return False
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True)
class ThresholdValue(Value):
    """A similarity from which on negatives are left out: one number, or a pair for image loss and text loss."""

    def check(self, name: str, value: Any) -> None:
        """Raise ValueError where it is neither a number, nor null, nor a pair of these."""
        pair = value if isinstance(value, list | tuple) else (value, value)
        if len(pair) != 2:
            raise ValueError(f"{name} is {value!r}: one for the image loss and one for the text loss")
        for each in pair:
            super().check(name, each)
