"""SentEval's PyTorch classifier: softmax regression by Adam with early stopping, many fits in one matrix product.

The source is `senteval/tools/classifier.py` (`MLP` with `nhid` 0), which SimCSE and MCSE ship unchanged, with the
values that their `--mode test` sets.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from tqdm.auto import tqdm

from ..errors import InputError

BATCH_SIZE = 64
EPOCH_SIZE = 4  # passes over the training rows between two looks at dev
MAX_EPOCH = 200
TENACITY = 5
HELD_OUT = 0.05  # share of the rows that stops a fit for which no dev rows are given


@dataclass
class Fold:
    """The rows of one fit, and the generator that shuffles its training rows before every pass."""

    train: np.ndarray
    dev: np.ndarray
    random: np.random.RandomState

    @classmethod
    def with_dev(cls, train: np.ndarray, dev: np.ndarray, seed: int) -> "Fold":
        """Trains on `train` and stops by `dev`."""
        return cls(train, dev, np.random.RandomState(seed))

    @classmethod
    def holding_out(cls, rows: np.ndarray, seed: int) -> "Fold":
        """Trains on 95 % of `rows`, drawn at random, and stops by the others.

        Raises:
            ValueError: 5 % of the rows is less than one.
        """
        random = np.random.RandomState(seed)
        shuffled = rows[random.permutation(len(rows))]
        size = int(HELD_OUT * len(rows))
        if size == 0:
            raise InputError(
                f"SentEval's classifier holds out 5 % of the training examples, and there are {len(rows)}: "
                f"give at least {math.ceil(1 / HELD_OUT)}, or choose the classifier logistic"
            )
        return cls(shuffled[size:], shuffled[:size], random)


@dataclass
class Fit:
    """Of one fold, for each of L penalties: the best weights (L, C, d + 1), and their accuracy on dev (L,)."""

    weights: torch.Tensor
    dev_accuracy: np.ndarray


def fit(
    inputs: torch.Tensor, labels: torch.Tensor, folds: list[Fold], penalties: list[list[float]], seed: int, bar: tqdm
) -> list[Fit]:
    """Fits a softmax regression for every fold and every one of its penalties, as SentEval does one after the other.

    Args:
        inputs: (n, d + 1), float32, the features of all rows; the last column is 1, so that the last weight is the
            bias, which SentEval penalises as well.
        labels: (n,), int64, classes from 0.
        folds: F of them.
        penalties: (F, L), strengths of the L2 penalty (Adam's `weight_decay`).
        seed: of the initial weights, which are the same for all fits; the folds have their own generators.
        bar: is advanced by one for every fit that has stopped.
    """
    start = _initial_weights(inputs.shape[1], int(labels.max()) + 1, seed).to(inputs.device)
    fits: dict[int, Fit] = {}
    # Fits advance in step, so those that train together have the same number of batches.
    numbers = sorted(range(len(folds)), key=lambda number: _batches(folds[number]))
    for _, members in itertools.groupby(numbers, key=lambda number: _batches(folds[number])):
        chosen = list(members)
        training = _Training(inputs, labels, [folds[n] for n in chosen], [penalties[n] for n in chosen], start)
        fits |= zip(chosen, training.run(bar), strict=True)
    return [fits[number] for number in range(len(folds))]


def predict(inputs: torch.Tensor, weights: torch.Tensor) -> np.ndarray:
    """The most probable class (n,) of each row of `inputs` (n, d + 1), with `weights` (C, d + 1)."""
    return (inputs @ weights.T).argmax(1).cpu().numpy()


def _batches(fold: Fold) -> int:
    return math.ceil(len(fold.train) / BATCH_SIZE)


def _initial_weights(width: int, classes: int, seed: int) -> torch.Tensor:
    """(C, d + 1): the weight and bias that `torch.nn.Linear` draws after `torch.manual_seed(seed)`."""
    generator = torch.Generator().manual_seed(seed)
    bound = 1 / math.sqrt(width - 1)
    weight = torch.empty(classes, width - 1).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(classes, 1).uniform_(-bound, bound, generator=generator)
    return torch.cat([weight, bias], dim=1)


class _Training:
    """F folds with L penalties each, their weights in one tensor (F, L, C, d + 1); stopped folds are dropped."""

    def __init__(
        self,
        inputs: torch.Tensor,
        labels: torch.Tensor,
        folds: list[Fold],
        penalties: list[list[float]],
        start: torch.Tensor,
    ):
        self.inputs, self.labels, self.folds = inputs, labels, folds
        self.one_hot = functional.one_hot(labels).to(inputs.dtype)
        shape = len(folds), len(penalties[0])
        self.penalties = torch.tensor(penalties, device=inputs.device)[:, :, None, None]
        self.weights = start.repeat(*shape, 1, 1)
        self.optimizer = torch.optim.Adam([self.weights], fused=True)
        # One memory for all batches: to ask for as much at every step takes longer than to fill it.
        self.batch = inputs.new_empty(len(folds) * BATCH_SIZE, inputs.shape[1])
        self.scale = self._scale()
        self.dev_rows = self._rows([fold.dev for fold in folds])
        sizes = torch.tensor([len(fold.dev) for fold in folds], device=inputs.device)
        self.in_dev = torch.arange(self.dev_rows.shape[1], device=inputs.device) < sizes[:, None]
        # The folds that still have a running fit; the others leave the tensors above.
        self.alive = torch.arange(len(folds))
        self.running = torch.ones(shape, dtype=torch.bool)
        self.best_weights = self.weights.clone()
        self.best = torch.full(shape, -1)  # dev rows that the best weights got right
        self.failures = torch.zeros(shape, dtype=torch.long)

    def run(self, bar: tqdm) -> list[Fit]:
        """Trains until every fit has stopped."""
        for epoch in range(0, MAX_EPOCH + 1, EPOCH_SIZE):
            bar.set_postfix(epoch=epoch)
            for _ in range(EPOCH_SIZE):
                self._train_epoch()
            before = int(self.running.sum())
            self._look_at_dev()
            bar.update(before - int(self.running.sum()))
            if not self.running.any():
                break
        bar.update(int(self.running.sum()))
        sizes = np.array([[len(fold.dev)] for fold in self.folds])
        accuracies = self.best.numpy() / sizes
        return [Fit(*pair) for pair in zip(self.best_weights, accuracies, strict=True)]

    def _train_epoch(self) -> None:
        orders = [fold.train[fold.random.permutation(len(fold.train))] for fold in self._alive_folds()]
        rows = self._rows(orders)
        for start in range(0, rows.shape[1], BATCH_SIZE):
            part = rows[:, start : start + BATCH_SIZE]
            self._step(part, self.scale[..., start : start + part.shape[1]])

    def _step(self, rows: torch.Tensor, scale: torch.Tensor) -> None:
        """One step of Adam on the mean cross-entropy of each fold's batch, (F, B) rows."""
        batch = self._take(rows)
        targets = functional.embedding(rows, self.one_hot).transpose(1, 2).unsqueeze(1)
        # The gradient of the cross-entropy by the logits is probability minus target.
        errors = (self._logits(batch).softmax(dim=2) - targets) * scale
        gradient = torch.bmm(errors.flatten(1, 2), batch).view_as(self.weights)
        self.weights.grad = gradient.addcmul_(self.weights, self.penalties)
        self.optimizer.step()

    def _take(self, rows: torch.Tensor) -> torch.Tensor:
        """Inputs (F, B, d + 1) of rows (F, B), until the next call."""
        flat = torch.index_select(self.inputs, 0, rows.flatten(), out=self.batch[: rows.numel()])
        return flat.view(*rows.shape, -1)

    def _logits(self, batch: torch.Tensor) -> torch.Tensor:
        """(F, L, C, B) of a batch (F, B, d + 1)."""
        logits = torch.bmm(self.weights.flatten(1, 2), batch.transpose(1, 2))
        return logits.view(*self.weights.shape[:3], -1)

    def _look_at_dev(self) -> None:
        """Keeps weights that are better on dev than any before, and stops fits at the sixth look that is not better.

        The looks need not follow one another: SentEval never sets its count back.
        """
        correct = torch.full_like(self.best, -1)
        correct[self.alive] = self._count_correct().cpu()
        improved = self.running & (correct > self.best)
        failed = self.running & ~improved
        self.best[improved] = correct[improved]
        changed = improved[self.alive].to(self.weights.device)
        alive = self.alive.to(self.weights.device)
        self.best_weights[alive] = torch.where(changed[..., None, None], self.weights, self.best_weights[alive])
        self.running &= ~(failed & (self.failures >= TENACITY))
        self.failures += failed
        self._drop_stopped_folds()

    def _count_correct(self) -> torch.Tensor:
        """How many dev rows each fit of the folds that are left gets right, (F, L)."""
        correct = torch.zeros(self.weights.shape[:2], dtype=torch.long, device=self.weights.device)
        for start in range(0, self.dev_rows.shape[1], BATCH_SIZE):
            part = slice(start, start + BATCH_SIZE)
            rows = self.dev_rows[:, part]
            classes = self._logits(self._take(rows)).argmax(dim=2)
            correct += ((classes == self.labels[rows][:, None]) & self.in_dev[:, None, part]).sum(dim=2)
        return correct

    def _drop_stopped_folds(self) -> None:
        stays = self.running[self.alive].any(dim=1)
        if stays.all():
            return
        self.alive = self.alive[stays]
        keep = stays.to(self.weights.device)
        self.weights.data = self.weights.data[keep]
        moments = self.optimizer.state[self.weights]
        for name in ("exp_avg", "exp_avg_sq"):
            moments[name] = moments[name][keep]
        self.weights.grad = None
        self.penalties, self.scale = self.penalties[keep], self.scale[keep]
        self.dev_rows, self.in_dev = self.dev_rows[keep], self.in_dev[keep]

    def _alive_folds(self) -> list[Fold]:
        return [self.folds[number] for number in self.alive.tolist()]

    def _rows(self, parts: list[np.ndarray]) -> torch.Tensor:
        """Row numbers of several lengths as one tensor, (F, longest), filled up with row 0."""
        rows = [torch.from_numpy(part) for part in parts]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.inputs.device)

    def _scale(self) -> torch.Tensor:
        """(F, 1, 1, longest): one over the size of the batch in which a position stands, 0 beyond the fold's end."""
        lengths = [len(fold.train) for fold in self.folds]
        scale = np.zeros((len(lengths), max(lengths)), dtype=np.float32)
        for row, length in zip(scale, lengths, strict=True):
            row[:length] = 1 / BATCH_SIZE
            last = length % BATCH_SIZE
            if last:
                row[length - last : length] = 1 / last
        return torch.from_numpy(scale)[:, None, None].to(self.inputs.device)
