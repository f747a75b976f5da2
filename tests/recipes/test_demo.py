"""The demo end to end on a smaller world: one bar a phase, one page with its pictures, next commands that work."""

import csv
import io
import json
import pathlib
import shlex
import sys

import browser
import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")

from demo.results import EXAMPLE_PAIRS, EXAMPLES  # noqa: E402
from demo.run import run  # noqa: E402
from demo.world import WorldSettings  # noqa: E402

from kdmcse_hf.commands import inspect_teacher, report, train  # noqa: E402
from kdmcse_hf.encoding.sentence_encoder import SentenceEncoder  # noqa: E402
from kdmcse_hf.evaluation.sts import sts_scores  # noqa: E402
from kdmcse_hf.metrics.sts.correlations import cosine_similarities  # noqa: E402

TINY = WorldSettings(
    pictures=140, held_out=20, sentences=400, dev_pairs=60, test_pairs=80, student_steps=10, teacher_steps=3
)
QUICK = {"max_steps": 6, "eval_steps": 2, "logging_steps": 2, "per_device_train_batch_size": 32}
PICTURES = ("curve", "losses", "pictures", "scores", "sentences")
PHASES = (
    "Drawing pictures with captions",
    "Pretraining a small BERT",
    "Training a small CLIP, the teacher",
    "Teacher's features",
    "Training with SimCSE",
    "Training with KDMCSE",
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a finished demo, what it printed, and the bars it drew."""
    folder = tmp_path_factory.mktemp("demo")
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        assert run("demo_output", TINY, QUICK) == 0
    return folder / "demo_output", out.getvalue(), err.getvalue()


def test_each_phase_has_one_bar_and_libraries_are_quiet(demo):
    folder, out, err = demo
    lines = [line.rsplit("\r", 1)[-1] for line in err.split("\n") if line.strip()]
    assert [line.split("  ")[0] for line in lines] == list(PHASES)
    assert all("100 % |" in line for line in lines)
    assert len(out.splitlines()) < 35
    log = (folder / "train.log").read_text(encoding="utf-8")
    assert log.count("'eval_stsb_spearman'") == 2 * (1 + 3 + 1), "start, three times, and the best again, twice"
    assert "it/s" not in log


def test_what_is_printed_are_the_scores_of_the_models_it_leaves(demo):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    folder, out, _ = demo
    with open(folder / "world" / "sts-test.tsv", encoding="utf-8") as file:
        pairs = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for name in ("simcse", "kdmcse"):
        encoder = sentence_transformers.SentenceTransformer(str(folder / name), device="cpu")
        sides = [[pair[side] for pair in pairs] for side in ("sentence1", "sentence2")]
        ours = SentenceEncoder.from_pretrained(str(folder / name)).encode_pairs(*sides)
        # Many of these cosines differ by rounding alone, which ranks them anew whenever batches are made up otherwise:
        # the cosines are held to five digits, the score to less than half a point. The two models are far apart.
        cosines = encoder.similarity_pairwise(*(encoder.encode(side) for side in sides))
        np.testing.assert_allclose(cosine_similarities(*ours), cosines, atol=1e-5)
        score = sts_scores(*ours, np.array([float(pair["score"]) for pair in pairs]))["spearman"]
        line = next(line for line in out.splitlines() if line.lower().startswith(f"{name} "))
        assert float(line.split()[-1].replace("−", "-")) == pytest.approx(score, abs=0.5)
        examples = encoder.similarity(*[encoder.encode(list(EXAMPLES))] * 2)
        column = -2 if name == "simcse" else -1
        for text, pair in EXAMPLE_PAIRS.items():
            line = next(line for line in out.splitlines() if line.startswith(text))
            assert float(line.split()[column].replace("−", "-")) == pytest.approx(float(examples[pair]), abs=0.006)
    assert "their cosines agree to five digits" in out


def test_the_pictures_lie_beside_the_page(demo):
    folder, *_ = demo
    for name in PICTURES:
        with Image.open(folder / f"{name}.png") as picture:
            picture.verify()
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert str(folder.parent) not in page
    assert "://" not in page, "no address outside the page (letters of an image in base64 may spell anything)"


@pytest.mark.parametrize("width", [1200, 600])
def test_a_browser_shows_every_picture_of_the_page(demo, tmp_path, width):
    folder, *_ = demo
    seen = browser.open_page(folder / "report.html", tmp_path, width)
    sizes = [(image["width"], image["height"]) for image in seen.images]
    assert sizes.count((64, 64)) == 12
    assert len(sizes) == 12 + len(PICTURES) - 1, "the sheet stands on the page picture by picture"
    assert all(side > 0 for size in sizes for side in size)
    assert all(image["shown"] > 100 for image in seen.images)
    assert seen.width <= width
    with open(folder / "world" / "pictures" / "metadata.jsonl", encoding="utf-8") as metadata:
        captions = [json.loads(next(metadata))["captions"][0] for _ in range(12)]
    assert all(caption in seen.text for caption in captions)
    assert browser.complaints(folder / "report.html", tmp_path) == []


def test_the_next_commands_work_as_they_are_printed(demo, monkeypatch, capsys):
    folder, out, _ = demo
    monkeypatch.chdir(folder.parent)
    commands = [shlex.split(line) for line in out.partition("Next:")[2].splitlines() if not line.startswith("  #")]
    assert all(pathlib.Path(command[1]).is_file() for command in commands if command)
    started = [(command[1].rsplit("/", 1)[-1], command[2:]) for command in commands if command]
    assert [name for name, _ in started] == ["report.py", "inspect_teacher.py", "train.py"]
    for (name, words), main in zip(started, (report.main, inspect_teacher.main, train.main), strict=True):
        assert main(words) == 0, name
    assert (folder / "runs.html").is_file()
    assert (folder / "world" / "features" / "inspection" / "inspection.json").is_file()
    assert json.loads((folder / "mcse" / "config.json").read_text(encoding="utf-8"))["kdmcse"]["objective"] == "mcse"
    capsys.readouterr()


def test_a_second_start_takes_the_world_as_it_is(demo, monkeypatch, capsys):
    folder, *_ = demo
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr("demo.run.train_encoder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run("demo_output", TINY, QUICK) == 130
    caught = capsys.readouterr()
    assert "is whole and used again" in caught.out
    assert "goes on from what is whole" in caught.err
    assert "Pretraining" not in caught.err


def test_a_missing_library_is_said_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(tmp_path / "demo", TINY, QUICK) == 2
    assert "pip install 'kdmcse_hf[plots]'" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
