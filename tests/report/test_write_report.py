"""The page of a run: the figures are those of the run, it needs no other file, and names what is missing."""

import base64
import html.parser
import io
import json
import math
import pathlib
import re
import shutil

import browser
import numpy as np
import pytest
import tiny
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf.commands import inspect_teacher, train
from kdmcse_hf.commands.report import main
from kdmcse_hf.report.environment import describe_environment, write_environment
from kdmcse_hf.report.history import evaluations, half_width, loss_names, outcome, points
from kdmcse_hf.report.page import write_report
from kdmcse_hf.report.run_directory import read_runs
from kdmcse_hf.report.sections import differences, scores_table, verdict
from kdmcse_hf.report.similar_pairs import DEFAULT_SENTENCES, similar_pairs

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")

SCORE = "eval_stsb_spearman"
QUICK = {"max_steps": 8, "eval_steps": 2, "logging_steps": 2, "per_device_train_batch_size": 8, "use_cpu": True}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, pathlib.Path]:
    """Two real runs of recipes/train.py on tiny files, scored before training."""
    folder = tmp_path_factory.mktemp("runs")
    files = tiny.write_training_files(folder / "data")
    directories = {}
    for objective, rate in (("simcse", 1e-3), ("kdmcse", 2e-3)):
        directories[objective] = folder / objective
        flags = {**files, **QUICK, "objective": objective, "learning_rate": rate, "output_dir": folder / objective}
        assert train.main([f"--{name}={value}" for name, value in flags.items()] + ["--report=none"]) == 0
        write_environment(folder / objective)
    return directories


@pytest.fixture(scope="module")
def single(runs, tmp_path_factory) -> pathlib.Path:
    """The page of the KDMCSE run."""
    return write_report(runs["kdmcse"], tmp_path_factory.mktemp("single") / "report.html")


@pytest.fixture(scope="module")
def compared(runs, tmp_path_factory) -> pathlib.Path:
    """The page of both runs."""
    return write_report(list(runs.values()), tmp_path_factory.mktemp("compared") / "report.html")


@pytest.fixture
def run(runs, tmp_path) -> pathlib.Path:
    """A copy of the KDMCSE run that a test may change."""
    return pathlib.Path(shutil.copytree(runs["kdmcse"], tmp_path / "copied" / "kdmcse"))


class Page(html.parser.HTMLParser):
    """What a page holds: addresses it names, tags, table rows, all of its text."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.addresses, self.tags, self.rows, self.words, self.in_row = [], set(), [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action")]
        if tag == "tr":
            self.rows.append([])
            self.in_row = True

    def handle_endtag(self, tag):
        self.in_row = self.in_row and tag != "tr"

    def handle_data(self, data):
        self.words.append(data)
        if self.in_row and data.strip():
            self.rows[-1].append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def pictures(self) -> list:
        contents = [base64.b64decode(address.split(",", 1)[1]) for address in self.addresses]
        return [Image.open(io.BytesIO(content)) for content in contents]


def report(*directories: pathlib.Path, **options) -> Page:
    """The page of some runs, written beside the first."""
    return Page(write_report(list(directories), directories[0].parent / "report.html", **options))


def state(path: pathlib.Path) -> dict:
    return json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))


def history(scores: dict[int, float], score: str = SCORE) -> list[dict]:
    return [{"step": step, score: value} for step, value in scores.items()]


# The log


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 500), st.floats(-100, 100), min_size=1), st.floats(-100, 100), st.booleans())
def test_best_is_the_best_trained_evaluation_and_gain_is_measured_from_the_start(scores, start, is_distance):
    name = "eval_stsb_uniformity" if is_distance else SCORE
    sign = -1 if is_distance else 1
    found = outcome({"log_history": history({0: start, **scores}, name)})
    assert found.before == (0, {"step": 0, name: start})
    assert sign * found.best[1][name] == max(sign * value for value in scores.values())
    assert found.last[0] == max(scores)
    assert found.gain(found.best) == pytest.approx(sign * (found.best[1][name] - start))
    assert found.gain(found.best) >= found.gain(found.last)


def test_the_score_of_the_restored_checkpoint_is_not_the_last_of_the_curve():
    # 10 steps, evaluated every 4: at step 10 there is only the score of the restored best, that of step 4.
    log = [*history({0: 10.0, 4: 50.0, 8: 20.0}), {"step": 10, "train_runtime": 1.0}, *history({10: 50.0})]
    found = outcome({"log_history": log, "best_global_step": 4, "best_metric": 50.0})
    assert (found.best[0], found.last[0], found.last[1][SCORE]) == (4, 8, 20.0)
    assert points(evaluations(log), SCORE) == [(0, 10.0), (4, 50.0), (8, 20.0)]
    # Without any other evaluation it is all there is.
    assert points(evaluations(log[3:]), SCORE) == [(10, 50.0)]


def test_scores_of_several_evaluation_sets_at_one_step_make_one_evaluation():
    log = [{"step": 5, "eval_a_spearman": 1.0}, {"step": 5, "eval_b_spearman": 2.0, "eval_b_runtime": 9.0}]
    assert evaluations(log) == [{"step": 5, "eval_a_spearman": 1.0, "eval_b_spearman": 2.0}]
    by_second = outcome({"log_history": log, "best_global_step": 5, "best_metric": 2.0})
    assert by_second.score == "eval_b_spearman"


def test_nan_is_never_the_best_and_a_run_that_diverged_is_called_worse_at_the_end(tmp_path):
    found = _verdict(tmp_path, {0: 10.0, 5: 20.0, 10: math.nan})
    assert found.kind == "better"
    assert "But the last evaluation, NaN after step 10, is worse than the start" in found.text


@pytest.mark.parametrize(
    ("scores", "kind", "sentence"),
    [
        ({0: 64.7, 5: 47.8, 10: 40.0}, "worse", "Worse than the start by 16.90: Spearman (stsb) was 64.70"),
        ({0: 64.7, 5: 64.7}, "unknown", "No better than the start"),
        ({0: 100.0, 5: 100.0}, "unknown", "It could not rise"),
        ({0: 20.0, 5: 60.0, 10: 50.0}, "better", "Better than the start by 40.00"),
        ({0: 20.0, 5: 60.0, 10: 10.0}, "better", "But the last evaluation, 10.00 after step 10, is worse than"),
        ({5: 60.0}, "unknown", "eval_on_start: true measures it"),
        ({}, "unknown", "The log holds no score"),
        ({0: math.nan, 5: 60.0}, "unknown", "No score before training (step 0) is in the log"),
        ({0: 60.0, 5: math.nan}, "worse", "No score of the trained model is a number: the run diverged"),
    ],
)
def test_the_page_says_plainly_whether_training_helped(tmp_path, scores, kind, sentence):
    found = _verdict(tmp_path, scores)
    assert found.kind == kind
    assert sentence in found.text
    assert bool(found.causes) == (kind == "worse")
    page = report(tmp_path / "run").text
    assert sentence in page
    assert ("Likely causes" in page) == (kind == "worse")


@pytest.mark.parametrize(
    ("rows", "best", "kind", "sentence"),
    [
        (
            8,
            60.0,
            "unknown",
            "Too few rows to tell: Spearman (own pairs) was 50.00 before training, 60.00 at its best",
        ),
        (8, 40.0, "unknown", "Only 8 judge this run, and so few know a score to about ±70"),
        (30, 99.0, "better", "Better than the start by 49.00: Spearman (own pairs)"),
        (1500, 49.0, "worse", "Worse than the start"),
    ],
)
def test_the_page_is_no_surer_than_its_pairs_allow(tmp_path, rows, best, kind, sentence):
    found = _verdict(tmp_path, {0: 50.0, 5: best}, judge=f"own pairs ({rows})")
    assert found.kind == kind
    assert sentence in found.text


def test_the_width_of_a_score_covers_what_chance_does():
    generator = np.random.default_rng(0)
    for rows, correlation in ((20, 0.3), (100, 0.8)):
        pairs = generator.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]], size=(2000, rows))
        found = [100 * stats.spearmanr(each[:, 0], each[:, 1]).statistic for each in pairs]
        true = 100 * 6 / math.pi * math.asin(correlation / 2)  # of the whole population (Pearson 1907)
        inside = np.abs(np.array(found) - true) < [half_width(SCORE, value, rows) for value in found]
        assert 0.9 < inside.mean() < 0.99
    means = generator.binomial(100, 0.4, size=2000)  # recall@1 of 100 queries
    inside = np.abs(means - 40) < [half_width("eval_retrieval_recall_at_1", mean, 100) for mean in means]
    assert 0.92 < inside.mean() < 0.98


def _verdict(tmp_path, scores, judge=None):
    (tmp_path / "run").mkdir()
    content = {"log_history": history(scores), "global_step": 10}
    content["stateful_callbacks"] = {"RunRecord": {"args": {"record": {"judge": judge}}, "attributes": {}}}
    (tmp_path / "run" / "trainer_state.json").write_text(json.dumps(content), encoding="utf-8")
    return verdict(read_runs([tmp_path / "run"])[0])


# The page of one run


def test_the_table_holds_the_scores_of_the_log(runs, single):
    log = state(runs["kdmcse"])["log_history"]
    scored = {entry["step"]: entry for entry in reversed(log) if SCORE in entry}
    assert sorted(scored) == [0, 2, 4, 6, 8]
    best = max((step for step in scored if step), key=lambda step: (scored[step][SCORE], -step))
    page = Page(single)
    for moment, step in (("before training", 0), ("best", best), ("last", 8)):
        row = next(row for row in page.rows if row[0] == moment)
        shown = [float(cell.replace("−", "-")) for cell in row[1:]]
        wanted = [scored[step][f"eval_stsb_{name}"] for name in ("spearman", "pearson", "alignment", "uniformity")]
        assert shown == pytest.approx([step, *wanted], abs=0.005)


def test_every_part_of_the_loss_has_a_curve(runs, single):
    log = state(runs["kdmcse"])["log_history"]
    assert loss_names(log) == ["loss", "image_loss", "simcse_loss", "text_loss"]
    page = Page(single)
    for name in loss_names(log):
        assert f"{name} ." in page.text
    # Four losses, Spearman, Pearson, alignment against uniformity.
    assert [picture.size for picture in page.pictures()] == [(896, 560)] * 7
    for picture in page.pictures():
        assert len(picture.convert("L").getcolors(256) or range(257)) > 20, "an empty picture"


def test_the_page_stands_alone(single):
    page = Page(single)
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "video", "audio", "base", "form"}
    text = single.read_text(encoding="utf-8")
    assert "url(" not in text
    assert "@import" not in text


def test_settings_versions_environment_and_the_command_to_repeat_are_there(runs, single):
    page = Page(single)
    recipe = yaml.safe_load((runs["kdmcse"] / "training.yaml").read_text(encoding="utf-8"))
    assert "accelerate launch -m kdmcse_hf.commands.train training.yaml" in page.text
    assert f"learning_rate: {recipe['learning_rate']}" in page.text
    for row in (["margin", "0.125"], ["threshold", "0.85"], ["max_steps", "8"], ["world_size", "1"], ["steps", "8"]):
        assert row in page.rows
    environment = describe_environment()
    assert environment["torch"] == torch.__version__.split("+")[0] or environment["torch"] == torch.__version__
    for name in ("python", "torch", "transformers", "cpu cores"):
        assert [name, environment[name]] in page.rows
    assert f"transformers {environment['transformers']}" in page.text
    assert "scores.json" in page.text, "what is not there is named"
    assert "environment.json" not in page.text


def test_neither_folders_of_the_machine_nor_tokens_are_on_the_page(run):
    token = "hf_" + "aB3" * 12
    with open(run / "training.yaml", "a", encoding="utf-8") as file:
        file.write(f"hub_token: {token}\nrun_name: {token}\nsecond_file: {run.parent}/inner/names.txt\n")
        file.write(f"address: https://me:{token}@example.org/data\n# kept in {run.parent}/notes\n")
    tasks = {"STS-B": {"spearman": 50.0, "pearson": 50.0, "n": 5}}
    scores = {"model": f"{run}", "pooling": "cls", "data": f"{run.parent}/senteval", "tasks": tasks}
    (run / "scores.json").write_text(json.dumps([scores, {**scores, "pooling": "mean"}]), encoding="utf-8")
    (run / "inspection.json").write_text(
        json.dumps({"teacher": {"name": f"{run.parent}/clip"}, "findings": [f"read {run.parent}/features"]}),
        encoding="utf-8",
    )
    path = write_report(run, run / "report.html")
    text = path.read_text(encoding="utf-8")
    assert token not in text
    assert str(run.parent) not in text
    for kept in ("names.txt", "notes", "clip", "features", "example.org"):
        assert kept in text


def test_scores_stand_above_the_rows_of_the_paper(run):
    names = ("STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R")
    tasks = {name: {"spearman": 40.25 + number, "pearson": 1.0, "n": 9} for number, name in enumerate(names)}
    content = {"model": str(run), "pooling": "cls", "tasks": tasks, "sts_avg": 43.25}
    (run / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    rows = report(run).rows
    own = rows.index(["kdmcse (cls)", *(f"{40.25 + number:.2f}" for number in range(7)), "43.25"])
    assert rows[own - 1] == ["Model", *names, "Avg."]
    assert rows[own + 5][0] == "paper: wiki+flickr KDMCSE-BERT"
    assert rows[own + 5][-1] == "78.6±0.8"


def test_the_teacher_is_shown_as_its_inspection_found_it(run, runs):
    captions = runs["kdmcse"].parent / "data" / "captions"
    # The tiny captions have image and text features of different widths: similarities of captions alone.
    assert inspect_teacher.main([str(captions), f"--output_dir={run / 'inspection'}", "--batch_size=16"]) == 0
    found = json.loads((run / "inspection" / "inspection.json").read_text(encoding="utf-8"))
    page = report(run)
    for line in found["findings"]:
        assert " ".join(line.split()) in page.text
    values = found["similarities"]["caption_caption"]["random"]
    row = next(row for row in page.rows if row[:2] == ["caption and caption", "random"])
    assert row[2] == f"{values['pairs']:,}"
    assert float(row[4].replace("−", "-")) == pytest.approx(values["q0.5"], abs=5e-4)
    drawn = len(list((run / "inspection").glob("*.png")))
    assert drawn >= 2
    assert len(page.pictures()) == 7 + drawn


# Sentences


def test_similar_pairs_are_those_that_stock_automodel_finds(runs):
    found = similar_pairs(read_runs([runs["simcse"]])[0])
    tokenizer, model = AutoTokenizer.from_pretrained(runs["simcse"]), AutoModel.from_pretrained(runs["simcse"]).eval()
    with torch.inference_mode():
        batch = tokenizer(list(DEFAULT_SENTENCES), padding=True, return_tensors="pt")
        vectors = torch.nn.functional.normalize(model(**batch).last_hidden_state[:, 0], dim=1)
    wanted = (vectors @ vectors.T)[tuple(torch.triu_indices(12, 12, 1))].sort(descending=True).values.tolist()
    assert [pair.cosine for pair in found.highest] == pytest.approx(wanted[:5], abs=1e-5)
    assert [pair.cosine for pair in found.lowest] == pytest.approx(wanted[: -5 - 1 : -1], abs=1e-5)
    place = {sentence: number for number, sentence in enumerate(DEFAULT_SENTENCES)}
    for pair in found.highest + found.lowest:
        assert pair.cosine == pytest.approx(float(vectors[place[pair.first]] @ vectors[place[pair.second]]), abs=1e-5)


def test_given_pairs_show_where_model_and_people_disagree_and_their_text_is_no_markup(runs, tmp_path):
    rows = ["sentence1\tsentence2\tscore", "dog cat\tdog cat\t0.0", "<script>alert(1)</script>\ta & b\t3.0"]
    rows += [f"red ball {number}\tblue tree {number}\t{number}" for number in range(1, 5)]
    (tmp_path / "pairs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = similar_pairs(read_runs([runs["simcse"]])[0], str(tmp_path / "pairs.tsv"), shown=3)
    assert (found.highest[0].first, found.highest[0].cosine) == ("dog cat", pytest.approx(1))
    # Equal sentences that people scored 0: highest in one order, lowest in the other.
    assert found.farthest[0].score == 0
    page = report(runs["simcse"], pairs_file=str(tmp_path / "pairs.tsv"))
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text


# Several runs


def test_runs_are_compared_by_what_differs(runs, compared):
    both = read_runs(list(runs.values()))
    changed = {row[0]: row[1:] for row in differences(both)}
    assert changed["objective"] == ["simcse", "kdmcse"]
    assert changed["learning_rate"] == ["0.001", "0.002"]
    assert not changed.keys() & {"seed", "pooling", "max_steps", "text_dataset"}
    table = scores_table(both)
    assert [row[:2] for row in table[1:]] == [
        [name, moment] for name in runs for moment in ("before training", "best", "last")
    ]
    page = Page(compared)
    assert ["learning_rate", "0.001", "0.002"] in page.rows
    assert all(["Run", *row[1:]] not in page.rows for row in table[1:])
    assert "simcse and kdmcse" in page.text
    assert "kdmcse in detail" in page.text
    # As many pictures as for one run: the curves lie over one another.
    assert len(page.pictures()) == 7


def test_runs_of_one_name_are_told_apart_by_their_folders(runs, tmp_path):
    for parent in ("first", "second"):
        shutil.copytree(runs["simcse"], tmp_path / parent / "model")
    named = read_runs([tmp_path / "first" / "model", tmp_path / "second" / "model"])
    assert [each.name for each in named] == ["first/model", "second/model"]


# What is not there


@pytest.mark.parametrize("kept", ["trainer_state.json", "all_results.json", "config.json"])
def test_a_page_is_made_from_any_one_file_and_names_the_others(runs, tmp_path, kept):
    (tmp_path / "run").mkdir()
    shutil.copy(runs["kdmcse"] / kept, tmp_path / "run")
    text = report(tmp_path / "run").text
    files = ("trainer_state.json", "all_results.json", "training.yaml", "README.md", "scores.json", "inspection.json")
    assert "Not in this report" in text
    for name in files:
        assert (f"{name}, " in text or f"{name}: " in text) == (name != kept)
    assert "No model.safetensors is in the directory" in text


def test_an_unfinished_run_is_shown_from_its_newest_checkpoint(run):
    content = state(run)
    (run / "trainer_state.json").unlink()
    for step in (4, 40, 6):
        (run / f"checkpoint-{step}").mkdir(exist_ok=True)
        older = {**content, "global_step": step}
        (run / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(older), encoding="utf-8")
    assert "not finished: figures of checkpoint-40, planned 8 steps" in report(run).text


def test_a_model_that_cannot_be_loaded_leaves_the_rest_of_the_page(run):
    (run / "model.safetensors").write_bytes(b"no weights")
    page = report(run)
    assert "The model in the directory cannot be used" in page.text
    assert str(run.parent) not in page.text
    assert len(page.pictures()) == 7


# The command


def test_the_command_writes_into_the_run_or_where_it_is_told(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([str(run)]) == 0
    assert (run / "report.html").is_file()
    assert main([str(run), "--output", "new/page.html"]) == 0
    assert Page(tmp_path / "new" / "page.html").pictures()
    assert capsys.readouterr().out.splitlines() == [f"wrote {run / 'report.html'}", "wrote new/page.html"]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda run: shutil.rmtree(run), "is no directory: give the output_dir"),
        (lambda run: [path.unlink() for path in run.rglob("*.json")], "holds no run: neither trainer_state.json nor"),
        (
            lambda run: (run / "trainer_state.json").write_text('{"log'),
            "trainer_state.json was not written to its end",
        ),
        (lambda run: (run / "training.yaml").write_text("a: [b"), "training.yaml is no YAML"),
    ],
)
def test_unusable_directories_are_refused_in_one_line(run, capsys, prepare, words):
    prepare(run)
    assert main([str(run)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert not (run / "report.html").exists()


def test_one_directory_given_twice_and_pairs_that_are_not_there_are_refused(run, capsys):
    assert main([str(run), f"{run}/../{run.name}"]) == 2
    assert "is given twice" in capsys.readouterr().err
    assert main([str(run), "--pairs", str(run / "none.tsv")]) == 2
    assert "none.tsv" in capsys.readouterr().err


def test_a_page_that_is_a_folder_is_refused(run, capsys):
    assert main([str(run), "--output", str(run)]) == 2
    assert f"--output {run} is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["matplotlib.figure", "jinja2"])
def test_a_missing_library_is_named_with_the_command_that_installs_it(run, capsys, monkeypatch, library):
    monkeypatch.setitem(__import__("sys").modules, library, None)
    assert main([str(run)]) == 2
    error = capsys.readouterr().err
    assert library in error
    assert "pip install 'kdmcse_hf[plots]'" in error


# In a browser


@pytest.mark.parametrize("width", [1200, 600])
def test_a_browser_shows_every_picture_and_nothing_runs_off_the_page(compared, tmp_path, width):
    seen = browser.open_page(compared, tmp_path, width)
    assert len(seen.images) == len(Page(compared).pictures()) == 7
    for image in seen.images:
        assert (image["width"], image["height"]) == (896, 560)
        assert 280 < image["shown"] < width
    assert seen.width <= width
    assert "Settings that differ" in seen.text


def test_a_browser_has_nothing_to_complain_of(single, tmp_path):
    assert browser.complaints(single, tmp_path) == []
    # That the browser would say so is checked on a page that asks for a file elsewhere.
    broken = tmp_path / "broken.html"
    page = single.read_text(encoding="utf-8")
    broken.write_text(page.replace("<h1>", '<img src="http://127.0.0.1:9/a.png"><h1>'), encoding="utf-8")
    assert re.search("Content Security Policy", " ".join(browser.complaints(broken, tmp_path)))
    shot = np.asarray(Image.open(tmp_path / "shot.png").convert("L"))
    assert 0.01 < (shot < 128).mean() < 0.5, "dark text on a light page"
