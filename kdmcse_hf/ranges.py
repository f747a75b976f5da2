"""`Range`: what one argument may be. It is declared once; check, help text and documentation come from it."""

import dataclasses
import functools
import math
import numbers
import typing
from collections.abc import Mapping
from typing import Any, cast

from .errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """What is allowed for an argument.

    Args:
        type: float (which takes whole numbers too), int, bool or str (which is not empty).
        choices: what a str may be.
        least, above, below, most: range of a number; it must be finite in any case.
        off: a number outside of that range which is allowed too, since it turns something off.
        optional: whether None is allowed, `null` on a command line.
    """

    type: type = float
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    below: float | None = None
    most: float | None = None
    off: int | None = None
    optional: bool = False

    def check(self, name: str, value: Any) -> None:
        """Raise InputError, naming what is allowed, where `value` cannot be that of `name`."""
        if value is None and self.optional:
            return
        if not self._fits(value):
            raise InputError.of(name, value, self.allowed())

    def allowed(self) -> str:
        """What may stand for it, in words."""
        if self.type is bool:
            found = "true or false"
        elif self.choices:
            found = f"one of {', '.join(self.choices)}"
        else:
            found = " ".join(filter(None, [self._kind(), self._limits()]))
        found += f", or {self.off}," if self.off is not None else ""
        return f"{found.rstrip(',')}, or null," if self.optional else found

    def sentence(self) -> str:
        """The same as a sentence of a help text."""
        words = self.allowed().rstrip(",")
        return f"{words[0].upper()}{words[1:]}."

    def _kind(self) -> str:
        words = {
            int: "a whole number",
            float: "a finite number",
            str: "a text that is not empty",
            bool: "true or false",
        }
        return words[self.type]

    def _limits(self) -> str:
        limits = (("of at least", self.least), ("above", self.above), ("below", self.below), ("of at most", self.most))
        return " and ".join(f"{words} {limit:.10g}" for words, limit in limits if limit is not None)

    def _fits(self, value: Any) -> bool:
        if isinstance(value, bool) or self.type is bool:
            return isinstance(value, bool) and self.type is bool
        if self.type is str:
            is_text = isinstance(value, str) and "\0" not in value
            return is_text and (value in self.choices if self.choices else bool(value.strip()))
        if not isinstance(value, numbers.Integral if self.type is int else numbers.Real) or not math.isfinite(value):
            return False
        value = cast(float, value)
        return value == self.off or (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.most is None or value <= self.most)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps(Range):
    """Optimizer steps between two events, or their share of the run."""

    def _kind(self) -> str:
        return "a whole number of at least 1, or a share of the run above 0 and below 1"

    def _fits(self, value: Any) -> bool:
        return super()._fits(value) and value > 0 and (value < 1 or value == int(value))


AT_LEAST_1 = Range(type=int, least=1)
SEED = Range(type=int, least=0, most=2**32 - 1)  # what numpy takes


@functools.cache
def ranges_of(kind: type) -> dict[str, Range]:
    """The ranges of a dataclass's fields by name, as their types state them: `Annotated[int, Range(...)]`."""
    hints = typing.get_type_hints(kind, include_extras=True)
    stated = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}
    switches = {name: Range(type=bool) for name, hint in hints.items() if hint is bool}
    return switches | {name: each for name, found in stated.items() for each in found if isinstance(each, Range)}


def check_fields(of: Any, inherited: Mapping[str, Range] | None = None) -> None:
    """Raise InputError where a field of a dataclass's instance is outside of its range.

    Args:
        of: the instance.
        inherited: ranges of fields that another library declares, so that their types do not state them.
    """
    kind: type = type(of)
    for name, each in {**(inherited or {}), **ranges_of(kind)}.items():
        each.check(name, getattr(of, name))
