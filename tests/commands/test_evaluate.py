"""The evaluation command as a user calls it, and the tables it writes."""

import contextlib
import io
import json
import re
import sys

import pytest
import tiny

from kdmcse_hf.commands import evaluate
from kdmcse_hf.evaluation import senteval_protocol
from kdmcse_hf.evaluation.tables import build_tables, to_latex, to_markdown, to_text


def run(*arguments) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = evaluate.main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code or 0
    return status, out.getvalue(), err.getvalue()


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data" / "STS" / "STSBenchmark"
    folder.mkdir(parents=True)
    sentences = ["a dog runs", "a dog is running", "a cat sleeps", "the stock market fell", "a dog"]
    for name in ("sts-dev.csv", "sts-test.csv"):
        lines = [f"g\tf\ty\t0\t{4 - row}\t{sentences[0]}\t{text}" for row, text in enumerate(sentences)]
        (folder / name).write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


def test_the_contracts_json_and_a_resumed_run(data, minilm, tmp_path):
    output = tmp_path / "scores.json"
    arguments = (minilm, "--data", data, "--output_json", output)
    tables = (tmp_path / "t.md", tmp_path / "t.tex")
    status, out, err = run(*arguments, "--tasks", "STS-B,alignment", "--output_table", *tables)
    assert status == 0, err
    report = json.loads(output.read_text())
    assert report["model"] == str(minilm)
    assert report["pooling"] == "mean"
    assert report["tasks"]["STS-B"]["n"] == 5
    assert {"spearman", "pearson", "n", "subsets", "alignment", "uniformity"} <= report["tasks"]["STS-B-dev"].keys()
    assert "sts_avg" not in report
    assert "STS-B" in out
    assert (tmp_path / "t.tex").read_text().startswith(r"\begin{tabular}")
    report["tasks"]["STS-B"]["spearman"] = 12.34
    output.write_text(json.dumps(report))
    status, out, _ = run(*arguments, "--tasks", "STS-B", "--resume")
    assert status == 0
    assert "12.34" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--tasks", "STS-C"), "unknown ['STS-C']"),
        (("--data", "/nowhere"), "--data /nowhere is not a directory"),
        (("--pooling", "max"), "invalid choice"),
        (("--output_table", "a.txt"), "suffix must be one of .md, .tex"),
        (("--tasks", "SICK-R"), "SICK_test_annotated.txt"),
        (("--classifier", "svm"), "invalid choice: 'svm'"),
        (("--classifier_seed", "1"), "--classifier_seed is of --classifier senteval"),
        (
            ("--classifier", "senteval", "--classifier_seed", "-1"),
            "--classifier_seed: found '-1', a whole number of at least 0",
        ),
    ],
)
def test_unusable_input_is_status_2_with_one_message(data, minilm, arguments, reason):
    if "--data" not in arguments:
        arguments = (*arguments, "--data", data)
    status, _, err = run(minilm, *arguments)
    assert status == 2
    assert reason in err


def test_senteval_s_classifier_end_to_end(data, tmp_path, monkeypatch):
    """Scores of another classifier or seed stand in a report of their own, and a row of the table names each."""
    pytest.importorskip("sklearn")
    monkeypatch.setattr(senteval_protocol, "FOLDS", 3)  # instead of ten, to be quick
    (data / "CR").mkdir()
    for name, word in (("custrev.pos", "dog"), ("custrev.neg", "tree")):
        lines = [" ".join(["the", word, *["runs"] * (row % 5)]) for row in range(200)]
        (data / "CR" / name).write_text("\n".join(lines) + "\n")
    model, output, table = tiny.encoder_directory(tmp_path / "model"), tmp_path / "scores.json", tmp_path / "t.md"
    words = (model, "--pooling", "mean", "--data", data, "--output_json", output, "--output_table", table, "--resume")
    assert run(*words, "--tasks", "CR,STS-B", "--classifier", "senteval")[0] == 0
    scores = json.loads(output.read_text())["tasks"]
    assert scores["CR"].keys() == {"accuracy", "dev_accuracy", "n", "classifier", "seed"}
    assert scores["CR"]["accuracy"] > 70, "words tell the classes apart, and it stops early"
    assert (scores["CR"]["n"], scores["CR"]["classifier"], scores["CR"]["seed"]) == (400, "senteval", 1111)
    assert "classifier" not in scores["STS-B"]
    assert run(*words, "--tasks", "CR", "--classifier", "senteval", "--classifier_seed", "3")[0] == 0
    first, second = json.loads(output.read_text())
    assert first["tasks"] == scores
    of_an_earlier_version = {**second, "tasks": {"CR": {"accuracy": 12.34}}}
    output.write_text(json.dumps([first, second, of_an_earlier_version]))
    assert run(*words, "--tasks", "CR")[0] == 0
    assert json.loads(output.read_text())[2]["tasks"]["CR"] == {"accuracy": 12.34}, "it is logistic and there already"
    assert run(*words, "--tasks", "STS-B")[0] == 0
    assert json.loads(output.read_text())[0]["tasks"] == scores, "no transfer task is asked, so any report will do"
    shown = re.findall(r"\| ([^|]*) \| [^|]* \|$", table.read_text().split("\n\n")[1], re.MULTILINE)
    assert shown == ["Classifier", "---:", "senteval, seed 1111", "senteval, seed 3", "logistic"]


def test_scores_replace_no_file_that_holds_none(data, minilm, tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "bert"}')
    status, _, err = run(minilm, "--data", data, "--tasks", "STS-B", "--output_json", config)
    assert status == 2
    assert "config.json" in err
    assert config.read_text() == '{"model_type": "bert"}'


def test_a_missing_model_is_status_2(data):
    status, _, err = run(data / "no_model", "--tasks", "STS-B", "--data", data)
    assert status == 2
    assert "no_model" in err


def test_a_missing_extra_is_found_before_anything_is_loaded(data, minilm, monkeypatch):
    monkeypatch.setattr(evaluate, "load_transfer_task", lambda *_: pytest.fail("data were read"))
    for name in ("sklearn", "sklearn.linear_model", "sklearn.metrics", "sklearn.model_selection"):
        monkeypatch.setitem(sys.modules, name, None)
    status, _, err = run(minilm, "--tasks", "MR", "--data", data)
    assert status == 2
    assert "pip install 'kdmcse_hf[transfer]'" in err


def test_any_other_failure_keeps_its_traceback(data, minilm, monkeypatch):
    def broken(*_):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(evaluate, "evaluate_sts_task", broken)
    status, _, err = run(minilm, "--tasks", "STS-B", "--data", data)
    assert status == 1
    *traceback, last, where = err.strip().splitlines()
    assert "Traceback (most recent call last):" in traceback
    assert last == "RuntimeError: the disk is on fire"
    assert "Please report it" in where


def test_tables_in_the_papers_layout():
    tasks = ("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R")
    report = {"model": "my_model", "tasks": {task: {"spearman": 70.0 + row} for row, task in enumerate(tasks)}}
    report["sts_avg"] = 73.0
    other = {"model": "other", "tasks": {"STS12": {"spearman": 1.0}, "MR": {"accuracy": 80.5}}}
    sts, transfer = build_tables([report, other], paper=True)
    assert sts[0] == ["Model", *tasks, "Avg."]
    assert sts[1] == ["my_model", "70.00", "71.00", "72.00", "73.00", "74.00", "75.00", "76.00", "73.00"]
    assert sts[2] == ["other", "1.00", *"-------"]
    assert sts[7][:2] == ["paper: wiki+flickr KDMCSE-BERT", "74.4±1.4"]
    assert all(len(row) == 9 for row in sts)
    assert transfer == [["Model", "Classifier", "MR"], ["my_model", "-", "-"], ["other", "logistic", "80.50"]]
    assert len({len(line) for line in to_text(sts).splitlines()}) == 1
    assert to_markdown(transfer).splitlines()[1] == "| --- | ---: | ---: |"
    assert r"my\_model & - & - \\" in to_latex(transfer)
    assert r"74.4$\pm$1.4" in to_latex(sts)


def labels(*reports):
    (table,) = build_tables([{"tasks": {"MR": {"accuracy": 1.0}}, **report} for report in reports])
    return [row[0] for row in table[1:]]


def test_rows_name_the_pooling_and_are_told_apart_by_the_shortest_name():
    assert labels({"model": "org/name"}, {"model": "/a/b/run/model/"}) == ["org/name", "run/model"]
    paths = "/a/run/model", "/b/run/model"
    assert labels(*({"model": path} for path in paths)) == list(paths)
    assert labels(*({"model": "m", "pooling": pooling} for pooling in ("cls", "mean"))) == ["m (cls)", "m (mean)"]


def test_latex_takes_any_name():
    special = r"a_b&c%d#e{f}g$h~i^j\k"
    expected = r"a\_b\&c\%d\#e\{f\}g\$h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k & 1 \\"
    assert expected in to_latex([["Model", "MR"], [special, "1"]]).splitlines()


def test_the_papers_rows_are_its_table_1(shared):
    """Number by number, against the rows of the paper's text with eight results."""
    paper = (shared / "paper" / "kdmcse.md").read_text(encoding="utf-8")
    rows = [numbers(line.split("\t")[1:10]) for line in paper.splitlines() if "±" in line or r"_{\pm" in line]
    found = [row for row in rows if len(row) == 17]  # the model, eight means with their deviations
    assert list(map(numbers, build_tables([], paper=True)[0][1:])) == found
    assert len(found) == 14


def numbers(row):
    return [*re.findall(r"(?:Sim|M|KDM)CSE-\w+", "".join(row[:1])), *re.findall(r"\d+\.\d", " ".join(row[1:]))]
