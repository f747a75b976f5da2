"""SentEval's seven transfer tasks: a linear classifier on frozen sentence embeddings, its penalty chosen on dev."""

import pathlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from accelerate import PartialState
from tqdm.auto import tqdm

from ..encoding.sentence_encoder import SentenceEncoder
from ..errors import InputError
from .senteval import find_file, read_lines, read_rows
from .senteval_protocol import FOLDS, SEED, evaluate_by_senteval
from .tasks import CLASSIFIERS

# Inverse strengths of the L2 penalty, from which SentEval's scikit-learn classifiers choose.
STRENGTHS = [2.0**power for power in range(-2, 4)]
TREC_STRENGTHS = [2.0**power for power in range(-1, 6)]
BINARY_FILES = {
    "MR": ("rt-polarity.pos", "rt-polarity.neg"),
    "CR": ("custrev.pos", "custrev.neg"),
    "SUBJ": ("subj.objective", "subj.subjective"),
    "MPQA": ("mpqa.pos", "mpqa.neg"),
}


@dataclass
class Split:
    """Labelled texts: one column of n sentences, or two columns for n pairs, and n labels."""

    columns: list[list[str]]
    labels: np.ndarray


def load_transfer_task(name: str, data: str | None) -> dict[str, Split]:
    """Load the splits of a transfer task.

    Args:
        name: one of `tasks.TRANSFER_TASKS`.
        data: SentEval's data directory; there is no copy on the Hub to take instead.

    Returns:
        `all` for MR, CR, SUBJ and MPQA, which are cross-validated; `train` and `test`, for SST2 also `dev`, otherwise.

    Raises:
        FileNotFoundError, ValueError: `data` is None, a file is missing, or a line does not have the task's format;
            the message names file and line.
    """
    if data is None:
        raise InputError(
            f"{name} is read from SentEval's files only: no copy on the Hub has been compared with them. "
            "Give SentEval's data/downstream directory as data"
        )
    folder = pathlib.Path(data)
    if name in BINARY_FILES:
        parts = [_sentences(find_file(folder, name, name=file)) for file in BINARY_FILES[name]]
        return {"all": Split([parts[0] + parts[1]], np.repeat([1, 0], [len(part) for part in parts]))}
    if name == "SST2":
        names = {split: f"sentiment-{split}" for split in ("train", "dev", "test")}
        return {split: _sst(find_file(folder, "SST/binary", name=file)) for split, file in names.items()}
    reader, subfolder, names = {
        "TREC": (_trec, "TREC", {"train": "train_5500.label", "test": "TREC_10.label"}),
        "MRPC": (_mrpc, "MRPC", {"train": "msr_paraphrase_train.txt", "test": "msr_paraphrase_test.txt"}),
    }[name]
    return {split: reader(find_file(folder, subfolder, name=file)) for split, file in names.items()}


def evaluate_transfer_task(
    encoder: SentenceEncoder, name: str, splits: dict[str, Split], classifier: str = "logistic", seed: int = SEED
) -> dict:
    """Score one transfer task on SentEval's splits.

    For MR, CR, SUBJ and MPQA: 10-fold cross-validation, where each fold chooses the strength of the penalty by 10
    inner folds. For TREC and MRPC: the strength is chosen by 10-fold cross-validation on train, and accuracy is
    measured on test. For SST2 the strength is chosen on dev. The features are the embedding u of a sentence, or
    [|u - v|, u * v] of a pair (MRPC).

    Args:
        encoder: the model.
        name: of the task.
        splits: from `load_transfer_task`.
        classifier: `logistic`, scikit-learn's logistic regression; or `senteval`, SentEval's PyTorch classifier with
            the values, the folds and the order of rows of SimCSE's and MCSE's evaluation.
        seed: of `senteval`, which draws initial weights and the order of training rows; the papers' is 1111.

    Returns:
        `accuracy` on test and `dev_accuracy` (both x100), the number `n` of test examples, for MRPC also `f1` (x100);
        `classifier`, with `senteval` also `seed`.

    Raises:
        ImportError: scikit-learn is missing.
        ValueError: there is no such classifier, or the task has too few examples for it.
    """
    if classifier not in CLASSIFIERS:
        raise InputError(f"classifier is {classifier!r}: one of {', '.join(CLASSIFIERS)} is needed")
    sklearn = scikit_learn()
    if classifier == "senteval":
        features = _features(encoder, {key: _by_length(split) for key, split in splits.items()})
        result, predicted = evaluate_by_senteval(features, seed)
        made_by = {"classifier": classifier, "seed": seed}
    else:
        _check_enough(name, splits)
        features = _features(encoder, splits)
        result, predicted = _evaluate_by_logistic(sklearn, features)
        made_by = {"classifier": classifier}
    if name == "MRPC":
        f1 = 100 * float(sklearn.metrics.f1_score(features["test"][1], predicted))
        result["f1"] = round(f1, 2) if classifier == "senteval" else f1
    return result | made_by


def scikit_learn() -> ModuleType:
    """scikit-learn, which is an extra.

    Raises:
        ImportError: it is missing; the message says what to install.
    """
    try:
        import sklearn.linear_model
        import sklearn.metrics
        import sklearn.model_selection
    except ImportError as error:
        raise ImportError("transfer tasks need scikit-learn: pip install 'kdmcse_hf[transfer]'") from error
    return sklearn


def _check_enough(name: str, splits: dict[str, Split]) -> None:
    """Refuse rows of which no classifier can be made, or nothing is left to measure it by."""
    for split, rows in splits.items():
        counts = sorted((int((rows.labels == label).sum()) for label in np.unique(rows.labels)), reverse=True)
        # Ten folds to measure by, and in what is left of each of them ten folds to choose a penalty by.
        is_cut = split == "all" or (split == "train" and "dev" not in splits)
        is_enough = bool(counts) and (not is_cut or counts[0] >= FOLDS + 2)
        if not is_enough or (split in ("all", "train") and len(counts) < 2):
            raise InputError(
                f"{name}: its rows ({split}) are {len(rows.labels)} of {len(counts)} labels, too few to choose a "
                "penalty and to measure accuracy by: give SentEval's whole files"
            )


def _by_length(split: Split) -> Split:
    """Sorted as SentEval sorts: by the numbers of words, then by the label, otherwise in the order of the file."""
    lengths = [[len(sentence.split()) for sentence in column] for column in split.columns]
    order = sorted(range(len(split.labels)), key=lambda row: (*[each[row] for each in lengths], split.labels[row]))
    return Split([[column[row] for row in order] for column in split.columns], split.labels[order])


def _features(encoder: SentenceEncoder, splits: dict[str, Split]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {key: (_inputs(encoder, split), split.labels) for key, split in splits.items()}


def _inputs(encoder: SentenceEncoder, split: Split) -> np.ndarray:
    if len(split.columns) == 1:
        return encoder.encode(split.columns[0])
    first, second = encoder.encode_pairs(*split.columns)
    return np.concatenate([np.abs(first - second), first * second], axis=1)


def _evaluate_by_logistic(sklearn: ModuleType, features: dict) -> tuple[dict, np.ndarray | None]:
    """Scores, and the predicted classes of the test rows, None for nested cross-validation."""
    if "all" in features:
        return _nested(sklearn, *features["all"]), None
    if "dev" in features:
        model, dev_accuracy = _chosen_on_dev(sklearn, features["train"], features["dev"])
    else:
        model = _cross_validated(sklearn, TREC_STRENGTHS).fit(*features["train"])
        dev_accuracy = _best_score(model)
    inputs, labels = features["test"]
    accuracy = 100 * float(model.score(inputs, labels))
    return {"accuracy": accuracy, "dev_accuracy": dev_accuracy, "n": len(labels)}, model.predict(inputs)


def _cross_validated(sklearn: ModuleType, strengths: list[float]) -> Any:
    folds = sklearn.model_selection.StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    return sklearn.linear_model.LogisticRegressionCV(
        Cs=strengths,
        cv=folds,
        scoring="accuracy",
        max_iter=1000,
        n_jobs=-1,
        use_legacy_attributes=False,
        l1_ratios=(0,),
    )


def _best_score(model: Any) -> float:
    return 100 * float(model.scores_.mean(axis=0).max())


def _nested(sklearn: ModuleType, inputs: np.ndarray, labels: np.ndarray) -> dict:
    folds = sklearn.model_selection.StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    accuracies, dev_accuracies = [], []
    parts = tqdm(folds.split(inputs, labels), total=FOLDS, unit="fold", disable=not PartialState().is_main_process)
    for train, test in parts:
        model = _cross_validated(sklearn, STRENGTHS).fit(inputs[train], labels[train])
        dev_accuracies.append(_best_score(model))
        accuracies.append(100 * model.score(inputs[test], labels[test]))
    return {
        "accuracy": float(np.mean(accuracies)),
        "dev_accuracy": float(np.mean(dev_accuracies)),
        "n": len(labels),
    }


def _chosen_on_dev(sklearn: ModuleType, train: tuple, dev: tuple) -> tuple:
    models = [sklearn.linear_model.LogisticRegression(C=c, max_iter=1000).fit(*train) for c in STRENGTHS]
    scores = [100 * float(model.score(*dev)) for model in models]
    best = int(np.argmax(scores))
    return models[best], scores[best]


def _sentences(path: pathlib.Path) -> list[str]:
    return [" ".join(line.split()) for line in read_lines(path, "latin-1")]


def _sst(path: pathlib.Path) -> Split:
    rows = list(read_rows(path, 2))
    return Split([[row[0] for row in rows]], _labels([row[1] for row in rows], path, ["0", "1"]))


def _trec(path: pathlib.Path) -> Split:
    rows = [line.partition(" ") for line in read_lines(path, "latin-1")]
    coarse = [label.partition(":")[0] for label, _, _ in rows]
    labels = _labels(coarse, path, ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"])
    return Split([[" ".join(question.split()) for _, _, question in rows]], labels)


def _mrpc(path: pathlib.Path) -> Split:
    rows = list(read_rows(path, 5))[1:]  # the first line is the header
    return Split([[row[3] for row in rows], [row[4] for row in rows]], _labels([r[0] for r in rows], path, ["0", "1"]))


def _labels(labels: list[str], path: pathlib.Path, allowed: list[str]) -> np.ndarray:
    for row, label in enumerate(labels, 1):
        if label not in allowed:
            raise InputError(f"{path}, example {row}: the label is {label!r}, expected one of {allowed}")
    return np.array([allowed.index(label) for label in labels])
