"""STS readers and scorer: hand-made SentEval folders, scipy on the concatenation, recorded SentEval figures."""

import hashlib
import json

import datasets
import numpy as np
import pytest
import scipy.stats

from kdmcse_hf.evaluation import mteb_sets as hub
from kdmcse_hf.evaluation.sts import evaluate_sts_task, is_stsb_dev, load_sts_task, load_stsb, sts_scores


class HashEncoder:
    """Stands in for a model: a sentence's embedding is drawn from its digest."""

    def encode_pairs(self, first, second):
        return tuple(np.stack([self.embed(sentence) for sentence in side]) for side in (first, second))

    def embed(self, sentence):
        seed = int.from_bytes(hashlib.sha256(sentence.encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=8)


def write_year(root, task="STS13", **replaced):
    """STS13 with quotes, stray tabs and white space, an unlabelled pair, a byte-order mark and an empty side."""
    files = {
        "STS.input.FNWN.txt": '\ufeffa "quoted  word\tb\n"x\ty"\nno score\there\n',
        "STS.gs.FNWN.txt": "5\n2.5\n\n",
        "STS.input.headlines.txt": "c\td\ta column more\r\ne\t\r\nf\x0cg\th\u2028i\r\n",
        "STS.gs.headlines.txt": "0\r\n1.0\r\n4\r\n",
        "STS.input.OnWN.txt": "k\tk\nl\tl\nm\tn\n",
        "STS.gs.OnWN.txt": "5\n4\n3\n",
    }
    folder = root / "STS" / f"{task}-en-test"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**files, **replaced}.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return str(root)


def test_odd_lines_are_read_as_they_are(tmp_path):
    subsets = load_sts_task("STS13", write_year(tmp_path))
    assert subsets["FNWN"] == [('a "quoted word', "b", 5.0), ('"x', 'y"', 2.5)]
    assert subsets["headlines"] == [("c", "d", 0.0), ("e", "", 1.0), ("f g", "h i", 4.0)]


def test_all_is_one_correlation_over_the_concatenation(tmp_path):
    subsets, encoder = load_sts_task("STS13", write_year(tmp_path)), HashEncoder()
    result = evaluate_sts_task(encoder, "STS13", subsets)
    pairs = [pair for part in subsets.values() for pair in part]
    vectors = [(encoder.embed(first), encoder.embed(second)) for first, second, _ in pairs]
    cosines = [round(a @ b / np.linalg.norm(a) / np.linalg.norm(b), 9) for a, b in vectors]
    gold = [pair[2] for pair in pairs]
    assert result["spearman"] == pytest.approx(100 * scipy.stats.spearmanr(cosines, gold).statistic)
    assert result["pearson"] == pytest.approx(100 * scipy.stats.pearsonr(cosines, gold).statistic)
    assert result["n"] == 8
    values = [result["subsets"][name]["spearman"] for name in ("FNWN", "headlines", "OnWN")]
    assert result["spearman_mean"] == pytest.approx(np.mean(values))
    assert result["spearman_wmean"] == pytest.approx((2 * values[0] + 3 * values[1] + 3 * values[2]) / 8)


@pytest.mark.parametrize(
    ("replaced", "reason"),
    [
        ({"STS.gs.FNWN.txt": "5\n6\n\n"}, "STS.gs.FNWN.txt, row 2: the score is '6', expected a number between 0"),
        ({"STS.gs.FNWN.txt": "5\nnan\n\n"}, "row 2: the score is 'nan'"),
        ({"STS.gs.FNWN.txt": "5\n"}, "3 pairs but STS.gs.FNWN.txt has 1 lines"),
        ({"STS.input.OnWN.txt": "k\tk\nl\nm\tn\n"}, "OnWN.txt, line 2: 2 tab-separated columns expected, found 1"),
        ({"STS.input.OnWN.txt": ""}, "OnWN.txt is empty"),
    ],
)
def test_a_broken_file_is_named(tmp_path, replaced, reason):
    with pytest.raises(ValueError, match=reason):
        load_sts_task("STS13", write_year(tmp_path, **replaced))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="STS.input.MSRpar.txt"):
        load_sts_task("STS12", write_year(tmp_path))
    with pytest.raises(FileNotFoundError, match="sts-dev.csv"):
        load_stsb(str(tmp_path))


@pytest.mark.parametrize("folder", ["STS/STSBenchmark", "STSBenchmark", ""])
def test_stsb_is_found_in_each_layout(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "sts-dev.csv").write_text('g\tf\ty\t1\t4.5\ta "b\tc\ng\tf\ty\t2\t0\td\te\textra\n')
    dataset = load_stsb(str(tmp_path))
    assert dataset.to_list() == [
        {"sentence1": 'a "b', "sentence2": "c", "score": 4.5},
        {"sentence1": "d", "sentence2": "e", "score": 0.0},
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'sentence1,sentence2,score,more\n"a, ""b""",null,-3\n'),
        ("a.tsv", 'sentence1\tsentence2\tscore\na, "b"\tnull\t-3\n'),
        ("a.jsonl", '{"sentence1": "a, \\"b\\"", "sentence2": "null", "score": -3}\n'),
    ],
)
def test_own_files_of_each_type(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert load_stsb(str(tmp_path / name)).to_list() == [{"sentence1": 'a, "b"', "sentence2": "null", "score": -3.0}]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "sentence1,score\na,1\n", "a.csv, row 1: no .*sentence2"),
        ("a.csv", "sentence1,sentence2,score\n", "a.csv holds no pair"),
        ("a.csv", "sentence1,sentence2,score\na,b,1\na,b,many\n", "a.csv, row 2: the score is 'many'"),
        ("a.jsonl", '{"sentence1": "a", "sentence2": null, "score": 1}\n', "row 1: no .*sentence2"),
        ("a.txt", "a\n", "is not a .csv"),
    ],
)
def test_a_broken_own_file_is_named(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=reason):
        load_stsb(str(tmp_path / name))


def test_scores_are_refused_where_they_mean_nothing():
    vectors = np.random.default_rng(0).normal(size=(2, 6, 4))
    gold = np.arange(6.0) - 1 + 1
    assert set(sts_scores(*vectors, gold)) == {"spearman", "pearson", "alignment", "uniformity"}
    broken = vectors.copy()
    broken[0, 3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 6 rows, the first is row 3"):
        sts_scores(*broken, gold)
    with pytest.raises(ValueError, match="collapsed"):
        sts_scores(np.ones((6, 4)), np.ones((6, 4)), gold)
    with pytest.raises(ValueError, match="references are 1"):
        sts_scores(*vectors, np.ones(6))


def test_hub_sets_take_the_papers_split(monkeypatch):
    """MTEB's SICK-R is train, trial and test in one; the papers score the test pairs."""
    other = [(f"other {row}", "pair", 1.0) for row in range(5000)]
    papers = [(f"the man ' s dog {row}", "a , b", 2.0) for row in range(4927)]
    monkeypatch.setattr(hub, "SICK_TEST_SHA256", hub._digest(papers))
    untokenised = [(first.replace(" ' ", "'"), "a, b", score) for first, _, score in papers]
    columns = zip(*[*other, *untokenised], strict=True)
    dataset = datasets.Dataset.from_dict(dict(zip(["sentence1", "sentence2", "score"], columns, strict=True)))
    asked = []

    def load_dataset(name, revision, split):
        asked.append((name, split))
        return dataset

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_sts_task("SICK-R", None)["SICK-R"] == untokenised
    assert len(load_sts_task("STS12", None)["STS12"]) == 9927
    assert len(load_stsb(None)) == 9927
    expected = [("mteb/sickr-sts", "test"), ("mteb/sts12-sts", "test"), ("mteb/stsbenchmark-sts", "validation")]
    assert asked == expected
    monkeypatch.setattr(hub, "SICK_TEST_SHA256", "changed")
    with pytest.raises(ValueError, match="SICK folder as data"):
        load_sts_task("SICK-R", None)


def test_pairs_and_their_number_are_those_of_senteval(shared):
    data = str(shared / "data" / "senteval")
    recorded = json.loads((shared / "reference" / "senteval_minilm_mean.json").read_text())["tasks"]
    del recorded["sts_avg"]
    for name, expected in recorded.items():
        subsets = load_sts_task(name, data)
        assert sum(map(len, subsets.values())) == expected["n"]
        if "subsets" in expected:
            assert {key: len(pairs) for key, pairs in subsets.items()} == {
                key: value["n"] for key, value in expected["subsets"].items()
            }
    assert hub._digest(load_sts_task("SICK-R", data)["SICK-R"]) == hub.SICK_TEST_SHA256


def test_the_public_dev_set_is_known_by_its_scores(shared):
    scores = load_stsb(str(shared / "data" / "senteval"))["score"]
    assert is_stsb_dev(scores)
    assert is_stsb_dev(reversed(list(scores)))
    assert not is_stsb_dev([*scores[1:], 4.9])
    assert not is_stsb_dev([])
