"""The evaluation command as a user calls it, and the tables it writes."""

import contextlib
import io
import json
import re

import pytest

from kdmcse_hf.commands import evaluate
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
    ],
)
def test_unusable_input_is_status_2_with_one_message(data, minilm, arguments, reason):
    if "--data" not in arguments:
        arguments = (*arguments, "--data", data)
    status, _, err = run(minilm, *arguments)
    assert status == 2
    assert reason in err


def test_a_missing_model_is_status_2(data):
    status, _, err = run(data / "no_model", "--tasks", "STS-B", "--data", data)
    assert status == 2
    assert "no_model" in err


def test_any_other_failure_is_status_1_with_one_message(data, minilm, monkeypatch):
    def broken(*_):
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(evaluate, "evaluate_sts_task", broken)
    status, _, err = run(minilm, "--tasks", "STS-B", "--data", data)
    assert status == 1
    assert err.strip().splitlines()[-1].endswith("RuntimeError: the disk is on fire")


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
    assert transfer == [["Model", "MR"], ["my_model", "-"], ["other", "80.50"]]
    assert len({len(line) for line in to_text(sts).splitlines()}) == 1
    assert to_markdown(transfer).splitlines()[1] == "| --- | ---: |"
    assert r"my\_model & - \\" in to_latex(transfer)
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
