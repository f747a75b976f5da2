"""SentEval's own protocol of the transfer tasks: which folds are cut, how the penalty is chosen, what is averaged.

The source is `senteval/tools/validation.py` with the values of SimCSE's and MCSE's evaluation (`--mode test`). Scores
are rounded where SentEval rounds them: it chooses the penalty by rounded scores and takes the first of equal ones.
"""

from collections.abc import Iterator

import numpy as np
import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from .senteval_classifier import Fit, Fold, fit, predict

FOLDS = 10
PENALTIES = [1e-5, 1e-4, 1e-3, 1e-2]
SEED = 1111  # SentEval's default, which the papers' evaluation keeps; the nested folds have it whatever the seed is

Splits = dict[str, tuple[np.ndarray, np.ndarray]]  # features (n, d) and labels (n,)


def cut_folds(labels: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of the training and the test part of 10 stratified folds, shuffled by `seed`, as SentEval cuts them."""
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    yield from folds.split(np.zeros(len(labels)), labels)


def evaluate_by_senteval(splits: Splits, seed: int = SEED) -> tuple[dict, np.ndarray | None]:
    """Score one task: by nested folds of `all`, by `dev`, or by folds of `train`, whichever splits there are.

    Args:
        splits: rows sorted as SentEval sorts them: the folds and the order of training depend on it.
        seed: of the initial weights, the order of the rows and, where there is no `dev`, the folds of `train`.

    Returns:
        `accuracy` and `dev_accuracy` (both x100, two decimals as SentEval has them) and the number `n` of test rows;
        and the predicted classes of the test rows, None for nested cross-validation.

    Raises:
        ImportError: scikit-learn is missing.
        ValueError: there are too few rows for the folds or for what is held out of them.
    """
    inputs = np.concatenate([features for features, _ in splits.values()])
    labels = np.concatenate([labels for _, labels in splits.values()])
    ends = np.cumsum([len(labels) for _, labels in splits.values()])
    rows = dict(zip(splits, np.split(np.arange(len(labels)), ends[:-1]), strict=True))
    fits = len(PENALTIES) if "dev" in rows else FOLDS * len(PENALTIES) + 1
    total = FOLDS * fits if "all" in rows else fits
    with tqdm(total=total, desc="Classifiers", unit="fit", disable=not PartialState().is_main_process) as bar:
        protocol = _Protocol(inputs, labels, seed, bar)
        if "all" in rows:
            return protocol.nested(), None
        if "dev" in rows:
            weights, dev_accuracy = protocol.chosen_on_dev(rows["train"], rows["dev"])
        else:
            weights, dev_accuracy = protocol.chosen_by_folds(rows["train"])
    accuracy, predicted = protocol.score(weights, rows["test"])
    return {"accuracy": accuracy, "dev_accuracy": dev_accuracy, "n": len(rows["test"])}, predicted


class _Protocol:
    """SentEval's three ways to choose the penalty, over rows of one matrix."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray, seed: int, bar: tqdm):
        device = PartialState().device
        with_bias = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1, dtype=np.float32)
        self.inputs, self.classes = torch.from_numpy(with_bias).to(device), torch.from_numpy(labels).to(device)
        self.labels, self.seed, self.bar = labels, seed, bar

    def nested(self) -> dict:
        """`InnerKFoldClassifier`: each of 10 folds chooses its penalty by 10 inner folds."""
        outer = list(cut_folds(self.labels, SEED))
        chosen = self._cross_validate([train for train, _ in outer], SEED)
        folds = [Fold.holding_out(train, self.seed) for train, _ in outer]
        fits = self._fit(folds, [[penalty] for penalty, _ in chosen])
        scores = [self.score(each.weights[0], test)[0] for each, (_, test) in zip(fits, outer, strict=True)]
        dev = [score for _, score in chosen]
        accuracy, dev_accuracy = _two_decimals(np.mean(scores)), _two_decimals(np.mean(dev))
        return {"accuracy": accuracy, "dev_accuracy": dev_accuracy, "n": len(self.labels)}

    def chosen_by_folds(self, train: np.ndarray) -> tuple[torch.Tensor, float]:
        """`KFoldClassifier`: weights for the penalty that 10 folds of `train` choose, and its mean accuracy there."""
        ((penalty, score),) = self._cross_validate([train], self.seed)
        (final,) = self._fit([Fold.holding_out(train, self.seed)], [[penalty]])
        return final.weights[0], score

    def chosen_on_dev(self, train: np.ndarray, dev: np.ndarray) -> tuple[torch.Tensor, float]:
        """`SplitClassifier`: weights for the penalty that is best on `dev`, and its accuracy there.

        SentEval fits once more with this penalty, from the same weights in the same order: the same fit.
        """
        (found,) = self._fit([Fold.with_dev(train, dev, self.seed)], [PENALTIES])
        best, score = _first_best(100 * found.dev_accuracy)
        return found.weights[best], score

    def score(self, weights: torch.Tensor, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """Accuracy x100 and predicted classes of some rows."""
        predicted = predict(self.inputs[torch.from_numpy(rows)], weights)
        return _two_decimals(100 * np.mean(predicted == self.labels[rows])), predicted

    def _cross_validate(self, parts: list[np.ndarray], fold_seed: int) -> list[tuple[float, float]]:
        """For each of several sets of rows the best penalty by 10 folds of it, and its mean accuracy x100."""
        cuts = [(rows, cut) for rows in parts for cut in cut_folds(self.labels[rows], fold_seed)]
        folds = [Fold.with_dev(rows[train], rows[dev], self.seed) for rows, (train, dev) in cuts]
        fits = self._fit(folds, [PENALTIES] * len(folds))
        chosen = []
        for start in range(0, len(fits), FOLDS):
            accuracies = [each.dev_accuracy for each in fits[start : start + FOLDS]]
            best, score = _first_best(100 * np.mean(accuracies, axis=0))
            chosen.append((PENALTIES[best], score))
        return chosen

    def _fit(self, folds: list[Fold], penalties: list[list[float]]) -> list[Fit]:
        return fit(self.inputs, self.classes, folds, penalties, self.seed, self.bar)


def _first_best(scores: np.ndarray) -> tuple[int, float]:
    rounded = [_two_decimals(score) for score in scores]
    best = int(np.argmax(rounded))
    return best, rounded[best]


def _two_decimals(score: np.floating) -> float:
    """As numpy rounds, which is what SentEval's `round` of numpy's numbers does; Python's differs on halves."""
    return float(np.round(score, 2))
