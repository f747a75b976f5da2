"""Runs that diverge: losses, weights and embeddings that are not finite, found without waiting in each step."""

import math

import numpy as np
import torch

from ..errors import FailedError


class DivergedError(FailedError):
    """Training came to weights that are not finite or to the same embedding for all sentences: there is no model."""


def has_diverged(embeddings: np.ndarray) -> bool:
    """Whether embeddings (m, H) are not finite, or the same for all sentences."""
    if not np.isfinite(embeddings).all():
        return True
    return bool(np.ptp(embeddings, axis=0).max() <= 1e-6 * np.abs(embeddings).max())


def has_finite_weights(model: torch.nn.Module) -> bool:
    """Whether no weight is NaN or infinite."""
    return all(bool(weight.isfinite().all()) for weight in model.parameters())


class LossParts:
    """The loss and its parts of the batches since the last log, left where they were computed until they are read."""

    def __init__(self) -> None:
        self._unread: list[tuple[int, str, torch.Tensor]] = []
        self._sums: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, step: int, parts: dict[str, torch.Tensor]) -> None:
        """Remember tensors () of one batch of an optimizer step, counted from 1."""
        self._unread += [(step, name, part.detach()) for name, part in parts.items()]

    def first_not_finite(self) -> tuple[int, str, float] | None:
        """Step, name and value of the first NaN or infinite number that came since the last call, or None.

        A GPU has to be waited for. A part is named rather than the loss that it spoils.
        """
        if not self._unread:
            return None
        values = torch.stack([value.double() for *_, value in self._unread]).tolist()
        bad = [
            (step, name, value)
            for (step, name, _), value in zip(self._unread, values, strict=True)
            if not math.isfinite(value)
        ]
        self._add_up()
        return min(bad, key=lambda found: (found[0], found[1] == "loss", found[1]), default=None)

    def means(self) -> dict[str, torch.Tensor]:
        """The mean of each part, tensors (), over the batches that had it since the last `clear`."""
        self._add_up()
        return {name: self._sums[name] / count for name, count in self._counts.items() if name != "loss"}

    def clear(self) -> None:
        """Forget all, as after a log."""
        self._unread.clear()
        self._sums.clear()
        self._counts.clear()

    def _add_up(self) -> None:
        for _, name, value in self._unread:
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1
        self._unread.clear()
