"""SentEval's classifier: many fits at once are the fits of a plain loop, and the protocol is SentEval's."""

import copy

import numpy as np
import pytest
import torch
from tqdm.auto import tqdm

from kdmcse_hf.evaluation import senteval_classifier, senteval_protocol
from kdmcse_hf.evaluation.senteval_classifier import Fold, fit, predict
from kdmcse_hf.evaluation.senteval_protocol import PENALTIES, cut_folds, evaluate_by_senteval

model_selection = pytest.importorskip("sklearn.model_selection")


class PlainClassifier:
    """One fit as `MLP` of senteval/tools/classifier.py makes it, with `nhid` 0 and without CUDA."""

    def __init__(self, width, classes, penalty, seed):
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.model = torch.nn.Linear(width, classes)
        self.optimizer = torch.optim.Adam(self.model.parameters(), weight_decay=penalty)
        self.looks = 0

    def fit(self, inputs, labels, dev=None):
        inputs, labels = torch.tensor(inputs), torch.tensor(labels)
        if dev is None:
            order = np.random.permutation(len(inputs))
            size = int(0.05 * len(inputs))
            dev = inputs[order[:size]], labels[order[:size]]
            inputs, labels = inputs[order[size:]], labels[order[size:]]
        best, failures, epoch, stops = -1.0, 0, 0, False
        while not stops and epoch <= 200:
            for _ in range(4):
                self.pass_over(inputs, labels)
            epoch, accuracy, self.looks = epoch + 4, self.score(*dev), self.looks + 1
            if accuracy > best:
                best, best_model = accuracy, copy.deepcopy(self.model)
            else:
                stops = failures >= 5
                failures += 1
        self.model = best_model
        return self

    def pass_over(self, inputs, labels):
        order = np.random.permutation(len(inputs))
        for start in range(0, len(inputs), 64):
            rows = order[start : start + 64]
            loss = torch.nn.functional.cross_entropy(self.model(inputs[rows]), labels[rows])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def predict(self, inputs):
        with torch.no_grad():
            return self.model(torch.as_tensor(inputs)).argmax(1).numpy()

    def score(self, inputs, labels):
        return float(np.mean(self.predict(inputs) == np.asarray(labels)))

    def weights(self):
        """(C, d + 1), the bias last."""
        return torch.cat([self.model.weight, self.model.bias[:, None]], dim=1).detach()


@pytest.fixture(autouse=True)
def _global_generators_as_before():
    """The plain loop seeds them, as SentEval does."""
    numpy_state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        yield
    np.random.set_state(numpy_state)


def drawn(rows, classes=2, noise=1.0, seed=0):
    """Features (rows, 6) in which the class is hard to see, and labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    centres = random.normal(size=(classes, 6))
    return (centres[labels] + noise * random.normal(size=(rows, 6))).astype(np.float32), labels


def fit_all(inputs, labels, folds, penalties, seed):
    with_bias = torch.tensor(np.c_[inputs, np.ones(len(inputs), np.float32)])
    with tqdm(disable=True) as bar:
        return fit(with_bias, torch.tensor(labels), folds, penalties, seed, bar)


def test_fits_in_one_product_are_those_of_senteval_one_after_the_other():
    """Folds of 129, 128 and 130 training rows: batches of one row, of none and of two; and stops at other times."""
    inputs, labels = drawn(150, classes=3, noise=2.0)
    rows = np.random.default_rng(1).permutation(150)
    parts = [(rows[:129], rows[129:]), (rows[20:148], rows[:20]), (rows[20:], rows[:19])]
    folds = [Fold.with_dev(*part, 7) for part in parts]
    fits = fit_all(inputs, labels, folds, [PENALTIES[1:]] * 3, 7)
    looks = set()
    for (train, dev), found in zip(parts, fits, strict=True):
        for column, penalty in enumerate(PENALTIES[1:]):
            plain = PlainClassifier(6, 3, penalty, 7)
            plain.fit(inputs[train], labels[train], (inputs[dev], labels[dev]))
            torch.testing.assert_close(found.weights[column], plain.weights(), rtol=1e-4, atol=1e-5)
            assert found.dev_accuracy[column] == plain.score(inputs[dev], labels[dev])
            looks.add(plain.looks)
    assert len(looks) > 1, "some fits must stop before others for this to show anything"


def test_a_fit_ends_after_51_looks_at_the_latest(monkeypatch):
    """SentEval looks before every fourth epoch up to 200, the last one included."""
    monkeypatch.setattr(senteval_classifier, "TENACITY", 1000)
    inputs, labels = drawn(40)
    fold = Fold.with_dev(np.arange(30), np.arange(30, 40), 0)
    passes = []
    shuffle = fold.random.permutation
    fold.random = type("Counting", (), {"permutation": lambda _, size: passes.append(size) or shuffle(size)})()
    fit_all(inputs, labels, [fold], [[0.0]], 0)
    assert passes == [30] * 204


def test_rows_held_out_are_those_that_senteval_draws():
    inputs, labels = drawn(90, noise=3.0)
    rows = np.arange(90)[::-1]
    (found,) = fit_all(inputs, labels, [Fold.holding_out(rows, 3)], [[1e-3]], 3)
    plain = PlainClassifier(6, 2, 1e-3, 3).fit(inputs[rows], labels[rows])
    torch.testing.assert_close(found.weights[0], plain.weights(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="there are 19: give at least 20, or choose the classifier logistic"):
        Fold.holding_out(np.arange(19), 3)


def test_global_generators_are_left_alone():
    inputs, labels = drawn(60)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    fit_all(inputs, labels, [Fold.holding_out(np.arange(60), 3)], [[1e-3]], 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_folds_are_senteval_s_stratified_ones_shuffled_by_1111():
    """Inner folds have rows of the outer training part alone, and 1111 whatever the seed of the classifier is."""
    _, labels = drawn(60)
    expected = model_selection.StratifiedKFold(n_splits=10, shuffle=True, random_state=1111).split(labels, labels)
    for (train, test), (wanted, rest) in zip(cut_folds(labels, 1111), expected, strict=True):
        assert train.tolist() == wanted.tolist()
        assert test.tolist() == rest.tolist()
        assert labels[test].tolist().count(0) == 3


def plain_choice(inputs, labels, folds, seed):
    """The penalty that is best over the folds, and its rounded score, as validation.py chooses it."""
    scores = []
    for penalty in PENALTIES[2:]:
        found = []
        for train, dev in folds.split(inputs, labels):
            plain = PlainClassifier(inputs.shape[1], 2, penalty, seed)
            plain.fit(inputs[train], labels[train], (inputs[dev], labels[dev]))
            found.append(plain.score(inputs[dev], labels[dev]))
        scores.append(round(100 * np.mean(found), 2))
    return PENALTIES[2:][int(np.argmax(scores))], max(scores)


@pytest.fixture
def _short(monkeypatch):
    """Three folds instead of ten and two penalties instead of four: a plain loop over all would take long."""
    monkeypatch.setattr(senteval_protocol, "FOLDS", 3)
    monkeypatch.setattr(senteval_protocol, "PENALTIES", PENALTIES[2:])


@pytest.mark.usefixtures("_short")
def test_nested_folds_choose_and_score_as_senteval_s_loops():
    inputs, labels = drawn(64, noise=2.5)
    folds = model_selection.StratifiedKFold(n_splits=3, shuffle=True, random_state=1111)
    scores, dev = [], []
    for train, test in folds.split(inputs, labels):
        penalty, score = plain_choice(inputs[train], labels[train], folds, 5)
        plain = PlainClassifier(6, 2, penalty, 5).fit(inputs[train], labels[train])
        scores.append(round(100 * plain.score(inputs[test], labels[test]), 2))
        dev.append(score)
    result, _ = evaluate_by_senteval({"all": (inputs, labels)}, 5)
    assert result == {"accuracy": round(np.mean(scores), 2), "dev_accuracy": round(np.mean(dev), 2), "n": 64}


@pytest.mark.usefixtures("_short")
def test_folds_of_train_are_shuffled_by_the_seed_as_in_senteval():
    (inputs, labels), test = drawn(70, noise=2.5), drawn(30, noise=2.5, seed=0)
    folds = model_selection.StratifiedKFold(n_splits=3, shuffle=True, random_state=8)
    penalty, score = plain_choice(inputs, labels, folds, 8)
    plain = PlainClassifier(6, 2, penalty, 8).fit(inputs, labels)
    result, predicted = evaluate_by_senteval({"train": (inputs, labels), "test": test}, 8)
    assert predicted.tolist() == plain.predict(test[0]).tolist()
    assert result == {"accuracy": round(100 * plain.score(*test), 2), "dev_accuracy": score, "n": 30}


def test_dev_chooses_where_there_is_one_and_the_first_of_equal_penalties_wins():
    parts = {"train": drawn(80, noise=2.5), "dev": drawn(40, noise=2.5), "test": drawn(30, noise=2.5)}
    found = []
    for penalty in PENALTIES:
        plain = PlainClassifier(6, 2, penalty, 2).fit(*parts["train"], parts["dev"])
        found.append((plain.score(*parts["dev"]), plain))
    best = max(found, key=lambda pair: pair[0])[1]
    result, predicted = evaluate_by_senteval(parts, 2)
    assert predicted.tolist() == best.predict(parts["test"][0]).tolist()
    assert result["dev_accuracy"] == round(100 * best.score(*parts["dev"]), 2)


def test_the_likeliest_class_is_predicted():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.5]])
    assert predict(torch.tensor([[3.0, 0.0, 1.0], [0.0, 3.0, 1.0], [1.0, 1.0, 1.0]]), weights).tolist() == [0, 1, 2]
