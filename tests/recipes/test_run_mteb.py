"""recipes/run_mteb.py: the pairs that MTEB is given, both figures, the reason of each difference."""

import sys
import types

import numpy as np
import pytest
import scipy.stats
import tiny

from kdmcse_hf.evaluation.senteval import SICK_FILES, STSB_FILES, YEARS

pytest.importorskip("sentence_transformers")
import run_mteb


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A SentEval directory of random sentences, four pairs a file."""
    root = tmp_path_factory.mktemp("data")
    # SICK's scores start at 1.
    pairs = ({**pair, "score": 1 + 0.8 * pair["score"]} for pair in tiny.pairs(400).to_list())

    def write(path, form, header=""):
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [next(pairs) for _ in range(4)]
        path.write_text(header + "".join(form.format(**row) for row in rows))
        return rows

    for year, subsets in YEARS.items():
        for subset in subsets:
            folder = root / "STS" / f"{year}-en-test"
            rows = write(folder / f"STS.input.{subset}.txt", "{sentence1}\t{sentence2}\n")
            (folder / f"STS.gs.{subset}.txt").write_text("".join(f"{row['score']}\n" for row in rows))
    write(root / "STS" / "STSBenchmark" / STSB_FILES["test"], "g\tf\ty\t1\t{score}\t{sentence1}\t{sentence2}\n")
    for file in SICK_FILES.values():
        write(root / "SICK" / file, "1\t{sentence1}\t{sentence2}\t{score}\n", header="id\tA\tB\tscore\n")
    return str(root)


@pytest.fixture
def mteb(monkeypatch):
    """Stands in for MTEB: tasks that hold their data, Spearman of cosines by numpy and scipy."""

    def score(model, task):
        first, second = (
            model.encode(list(task.dataset["test"][key])).astype(np.float64) for key in ("sentence1", "sentence2")
        )
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        return scipy.stats.spearmanr((first * second).sum(axis=1) / norms, task.dataset["test"]["score"]).statistic

    def evaluate(model, tasks, cache):
        results = [(task.name, score(model, task)) for task in tasks]
        return types.SimpleNamespace(
            task_results=[types.SimpleNamespace(task_name=name, get_score=lambda s=s: s) for name, s in results]
        )

    class Task(types.SimpleNamespace):
        def load_data(self):
            raise ConnectionError("no network")

    module = types.SimpleNamespace(get_task=lambda name: Task(name=name), evaluate=evaluate)
    monkeypatch.setitem(sys.modules, "mteb", module)


def save_model(folder, pooling):
    from sentence_transformers import SentenceTransformer, models

    modules = [models.Transformer(tiny.encoder_directory(folder / "encoder")), models.Pooling(16, pooling)]
    SentenceTransformer(modules=modules).save(str(folder / "model"))
    return str(folder / "model")


def table(output):
    return {line.split()[0]: line.split() for line in output.splitlines()[2:]}


def test_both_figures_and_the_reason_of_their_difference(data, mteb, tmp_path, capsys):
    assert run_mteb.main([save_model(tmp_path, "mean"), "--data", data]) == 0
    rows = table(capsys.readouterr().out)
    assert list(rows) == ["STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R"]
    for name, (_, theirs, same, n, papers, papers_n, *rest) in rows.items():
        assert float(theirs) == pytest.approx(float(same), abs=0.02)
        if name == "SICK-R":
            assert (int(n), int(papers_n)) == (12, 4)
            assert "papers test" in " ".join(rest)
        else:
            assert (n, same) == (papers_n, papers)
            assert " ".join(rest[1:]) == "same pairs"


def test_another_pooling_in_sentence_transformers_is_said(data, mteb, tmp_path, capsys):
    """A bare encoder: sentence-transformers averages, ours takes the first token."""
    assert run_mteb.main([tiny.encoder_directory(tmp_path), "--data", data]) == 0
    assert "another pooling" in capsys.readouterr().out


def test_without_mteb_the_way_to_install_it_is_named(data, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mteb", None)
    assert run_mteb.main(["model", "--data", data]) == 2
    assert capsys.readouterr().err.startswith("run_mteb.py: mteb is missing: pip install mteb")


def test_what_is_missing_is_one_line(data, mteb, tmp_path, capsys):
    assert run_mteb.main(["model", "--data", str(tmp_path)]) == 2
    assert "STS.input.MSRpar.txt" in capsys.readouterr().err
    assert run_mteb.main([str(tmp_path / "no model"), "--data", data]) == 2
    assert "no model can be had at" in capsys.readouterr().err


def test_without_the_hub_the_local_way_is_named(mteb, capsys):
    assert run_mteb.main(["model"]) == 1
    assert capsys.readouterr().err == "run_mteb.py: no network: give SentEval's data directory with --data\n"
