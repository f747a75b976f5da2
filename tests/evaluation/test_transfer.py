"""Transfer tasks: SentEval's files, its protocol on separable and on random features, its figures."""

import json

import numpy as np
import pytest

from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder
from kdmcse_hf.evaluation.transfer import Split, evaluate_transfer_task, load_transfer_task

pytest.importorskip("sklearn")


class LookupEncoder:
    """Stands in for a model: the sentence `"3"` has the third row of a table."""

    def __init__(self, table):
        self.table = table

    def encode(self, sentences):
        return self.table[[int(sentence) for sentence in sentences]]

    def encode_pairs(self, first, second):
        return self.encode(first), self.encode(second)


def numbered(start, stop):
    return [str(number) for number in range(start, stop)]


@pytest.mark.parametrize(("signal", "low", "high"), [(3.0, 95, 100), (0.0, 35, 65)])
def test_cross_validation_finds_a_signal_and_only_a_signal(signal, low, high):
    labels = np.arange(200) % 2
    table = np.random.default_rng(0).normal(size=(200, 4)) + signal * labels[:, None]
    result = evaluate_transfer_task(LookupEncoder(table), "MR", {"all": Split([numbered(0, 200)], labels)})
    assert low <= result["accuracy"] <= high
    assert result["n"] == 200


def test_dev_chooses_and_test_alone_is_scored():
    labels = np.arange(90) % 2
    table = np.random.default_rng(0).normal(size=(90, 4)) + 4.0 * labels[:, None]
    parts = {"train": (0, 60), "dev": (60, 75), "test": (75, 90)}
    splits = {name: Split([numbered(*ends)], labels[slice(*ends)]) for name, ends in parts.items()}
    splits["test"].labels = 1 - splits["test"].labels
    result = evaluate_transfer_task(LookupEncoder(table), "SST2", splits)
    assert result["dev_accuracy"] > 90
    assert result["accuracy"] < 10
    assert result["n"] == 15


def test_paraphrases_are_judged_by_difference_and_product():
    """Equal vectors against unrelated ones: no single vector tells, |u - v| does."""
    table = np.random.default_rng(0).normal(size=(120, 4))
    labels = np.arange(120) % 2
    second = [str(row if label else (row + 1) % 120) for row, label in enumerate(labels)]
    split = Split([numbered(0, 120), second], labels)
    result = evaluate_transfer_task(LookupEncoder(table), "MRPC", {"train": split, "test": split})
    assert result["accuracy"] > 90
    assert result["f1"] > 90


def test_the_classifier_is_named_and_must_be_one_of_two():
    encoder, split = LookupEncoder(np.eye(4)), Split([numbered(0, 4)], np.arange(4) % 2)
    splits = dict.fromkeys(("train", "dev", "test"), split)
    assert evaluate_transfer_task(encoder, "SST2", splits)["classifier"] == "logistic"
    assert evaluate_transfer_task(encoder, "SST2", splits, "senteval")["classifier"] == "senteval"
    with pytest.raises(ValueError, match="classifier is 'svm': one of logistic, senteval is needed"):
        evaluate_transfer_task(encoder, "SST2", splits, "svm")


@pytest.mark.parametrize(("signal", "low", "high"), [(1.0, 99, 100), (0.0, 40, 60)])
def test_senteval_s_classifier_finds_a_signal_and_only_a_signal(signal, low, high):
    """Of some size: it stops after a few epochs, in which Adam does not get far on a few rows."""
    labels = np.arange(400) % 2
    table = np.random.default_rng(0).normal(size=(400, 40)) + signal * (2 * labels - 1)[:, None]
    splits = {"all": Split([numbered(0, 400)], labels)}
    result = evaluate_transfer_task(LookupEncoder(table), "MR", splits, "senteval")
    assert low <= result["accuracy"] <= high
    assert result["n"] == 400
    assert (result["classifier"], result["seed"]) == ("senteval", 1111)


def test_a_seed_of_senteval_s_classifier_always_gives_the_same_and_another_seed_not():
    table = np.random.default_rng(0).normal(size=(120, 4))
    labels = (table[:, 0] + np.random.default_rng(1).normal(size=120) > 0).astype(int)
    second = numbered(0, 120)[::-1]
    split = Split([numbered(0, 120), second], labels)
    first, again, other = (
        evaluate_transfer_task(LookupEncoder(table), "MRPC", {"train": split, "test": split}, "senteval", seed)
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first["f1"] == round(first["f1"], 2)
    assert first["dev_accuracy"] != other["dev_accuracy"]


def test_rows_are_sorted_as_senteval_sorts_them(monkeypatch):
    """By words of the first sentence, then of the second, then by label; equal ones stay in the file's order."""
    table = np.arange(60, dtype=np.float32)[:, None]
    rows = [("1", "2 ", 1), ("1 1", "2", 0), ("1", "2 2", 0), ("1", "2", 0), ("1", "3", 0), ("1", "4", 1)]
    encoder = LookupEncoder(table)
    monkeypatch.setattr(encoder, "encode", lambda texts: table[[int(text.replace(" ", "")) for text in texts]])
    seen = {}

    def record(features, seed):
        seen.update(features)
        return {}, features["test"][1]

    monkeypatch.setattr("kdmcse_hf.evaluation.transfer.evaluate_by_senteval", record)
    split = Split([[row[0] for row in rows], [row[1] for row in rows]], np.array([row[2] for row in rows]))
    evaluate_transfer_task(encoder, "MRPC", {"train": split, "test": split}, "senteval")
    inputs, labels = seen["train"]
    assert labels.tolist() == [0, 0, 1, 1, 0, 0]
    assert inputs[:, 0].tolist() == [1, 2, 1, 3, 21, 9]


def test_files_are_read_as_senteval_does(tmp_path):
    for name, text in {
        "MRPC/msr_paraphrase_train.txt": '\ufeffQuality\ta\tb\tc\td\n1\t1\t2\tone "x\ttwo\n0\t1\t2\ty\tz\n',
        "MRPC/msr_paraphrase_test.txt": "Quality\ta\tb\tc\td\n1\t1\t2\tone\ttwo\n",
        "SST/binary/sentiment-train": "good  film \t1\nbad\t0\n",
        "SST/binary/sentiment-dev": "good\t1\n",
        "SST/binary/sentiment-test": "good\t2\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "TREC").mkdir()
    for name in ("train_5500.label", "TREC_10.label"):
        (tmp_path / "TREC" / name).write_bytes("NUM:dist How : far ?\nHUM:desc Qui\xe9n ?\n".encode("latin-1"))
    mrpc = load_transfer_task("MRPC", str(tmp_path))
    assert mrpc["train"].columns == [['one "x', "y"], ["two", "z"]]
    assert mrpc["train"].labels.tolist() == [1, 0]
    trec = load_transfer_task("TREC", str(tmp_path))["test"]
    assert trec.columns == [["How : far ?", "Qui\xe9n ?"]]
    assert trec.labels.tolist() == [5, 3]
    with pytest.raises(ValueError, match="sentiment-test, example 1: the label is '2'"):
        load_transfer_task("SST2", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="custrev.pos"):
        load_transfer_task("CR", str(tmp_path))
    with pytest.raises(ValueError, match="directory as data"):
        load_transfer_task("CR", None)


def test_sizes_are_those_of_senteval(shared):
    recorded = json.loads((shared / "reference" / "senteval_minilm_mean_transfer.json").read_text())["tasks"]
    for name, expected in recorded.items():
        splits = load_transfer_task(name, str(shared / "data" / "senteval"))
        assert len(splits.get("test", splits.get("all")).labels) == expected["ntest"]
        assert len(splits.get("dev", splits.get("train", splits.get("all"))).labels) == expected["ndev"]


def test_trec_of_minilm_is_within_noise_of_senteval(shared, minilm):
    """The recorded figure is one seed of another optimiser: about a point of noise, 500 test questions."""
    splits = load_transfer_task("TREC", str(shared / "data" / "senteval"))
    result = evaluate_transfer_task(SentenceEncoder.from_pretrained(str(minilm)), "TREC", splits)
    assert result["accuracy"] == pytest.approx(90.0, abs=1.5)


@pytest.mark.exhaustive
def test_trec_of_minilm_is_senteval_s_figure_with_senteval_s_classifier(shared, minilm):
    """The same initial weights, orders and folds from the same seed: what is left are rounding errors."""
    recorded = json.loads((shared / "reference" / "senteval_minilm_mean_transfer.json").read_text())["tasks"]["TREC"]
    splits = load_transfer_task("TREC", str(shared / "data" / "senteval"))
    result = evaluate_transfer_task(SentenceEncoder.from_pretrained(str(minilm)), "TREC", splits, "senteval")
    assert result["accuracy"] == pytest.approx(recorded["acc"], abs=0.21)  # one of 500 questions
    assert result["dev_accuracy"] == pytest.approx(recorded["devacc"], abs=0.1)
