"""Runs that diverge: losses, weights and embeddings that are not finite, found without waiting in each step."""

import math
from dataclasses import dataclass, field

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


@dataclass
class LossParts:
    """Parts of the loss of the batches since the last log, left where they were computed until they are read.

    Args:
        steps: by name, the optimizer step of each batch that had the part.
        values: by name, the part of each such batch, a tensor () on its device.
    """

    steps: dict[str, list[int]] = field(default_factory=dict)
    values: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def add(self, step: int, parts: dict[str, torch.Tensor]) -> None:
        """Remember the parts of one batch of an optimizer step, counted from 1."""
        for name, part in parts.items():
            self.steps.setdefault(name, []).append(step)
            self.values.setdefault(name, []).append(part.detach())

    def means(self) -> dict[str, torch.Tensor]:
        """The mean of each part over the batches that had it, tensors ()."""
        return {name: torch.stack(values).mean() for name, values in self.values.items()}

    def first_not_finite(self) -> tuple[int, str, float] | None:
        """Step, name and value of the first part that is NaN or infinite, or None. A GPU has to be waited for."""
        found = [
            (step, name, value)
            for name, values in self.values.items()
            for step, value in zip(self.steps[name], torch.stack(values).tolist(), strict=True)
            if not math.isfinite(value)
        ]
        return min(found, key=lambda part: part[:2], default=None)

    def clear(self) -> None:
        """Forget all, as after a log."""
        self.steps.clear()
        self.values.clear()
