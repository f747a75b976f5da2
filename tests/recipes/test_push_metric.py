"""recipes/push_metric.py: what it uploads is a Space whose metric loads and whose page starts, without the package."""

import json
import pathlib
import runpy
import shutil
import subprocess
import sys
import types

import evaluate
import push_metric
import pytest
from huggingface_hub.errors import LocalTokenNotFoundError
from huggingface_hub.utils import filter_repo_objects


class FolderApi:
    """Stands in for the Hub: a Space is a folder, called as a Space's container calls it."""

    root: pathlib.Path

    def create_repo(self, repo_id, **options):
        assert options == {"repo_type": "space", "space_sdk": "gradio", "private": True, "exist_ok": True}

    def upload_folder(self, folder_path, repo_id, repo_type, ignore_patterns, commit_message):
        assert (repo_id, repo_type) == ("someone/sts", "space")
        files = [str(path.relative_to(folder_path)) for path in folder_path.rglob("*") if path.is_file()]
        (self.root / "app").mkdir()
        for file in filter_repo_objects(files, ignore_patterns=ignore_patterns):
            shutil.copy(folder_path / file, self.root / "app" / file)
        return types.SimpleNamespace(commit_url="https://hub/commit")


@pytest.fixture
def space(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FolderApi, "root", tmp_path, raising=False)
    monkeypatch.setattr(push_metric, "HfApi", FolderApi)
    assert push_metric.main(["someone/sts", "--private"]) == 0
    assert "https://hub/commit" in capsys.readouterr().out
    return tmp_path / "app"


def test_the_space_holds_the_metric_and_its_page(space):
    files = {"README.md", "app.py", "correlations.py", "requirements.txt", "sts.py"}
    assert {path.name for path in space.iterdir()} == files
    assert "kdmcse_hf" not in "".join((space / name).read_text() for name in ("app.py", "correlations.py"))
    metric = evaluate.load(str(space / "sts.py"))
    assert metric.compute(predictions=[0.1, 0.5, 0.9], references=[0.0, 2.0, 5.0])["spearman"] == pytest.approx(100)


def test_the_page_computes(space, monkeypatch):
    pages = []

    class Interface:
        def __init__(self, fn, **options):
            self.fn = fn

        def launch(self):
            pages.append(self.fn)

    gradio = types.SimpleNamespace(Interface=Interface, Textbox=lambda *_, **__: None, JSON=lambda: None)
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    runpy.run_path(str(space / "app.py"))
    (compute,) = pages
    pairs = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]]
    assert compute(json.dumps(pairs), "[0, 5]")["spearman"] == pytest.approx(100)


def test_a_name_that_would_not_load_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        push_metric.main(["someone/similarity"])
    assert caught.value.code == 2
    assert "must end in /sts" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"), [(LocalTokenNotFoundError("no token"), 2), (ConnectionError("no network"), 1)]
)
def test_what_went_wrong_is_one_line(monkeypatch, capsys, error, status):
    class FailingApi:
        def create_repo(self, *_, **__):
            raise error

    monkeypatch.setattr(push_metric, "HfApi", FailingApi)
    assert push_metric.main(["someone/sts"]) == status
    assert capsys.readouterr().err.splitlines() == [
        "push_metric.py: no token" if status == 2 else "push_metric.py: no network"
    ]


def test_pushed_and_loaded_by_evaluate(hub):
    environment = hub.environment(token="hf_alice_write", xet=False)
    pushed = [sys.executable, push_metric.__file__, "alice/sts"]
    subprocess.run(pushed, env=environment, check=True, capture_output=True, timeout=120)
    use = (
        "import evaluate; print(evaluate.load('alice/sts').compute(predictions=[0.1, 0.9, 0.5], references=[0, 2, 5]))"
    )
    loaded = subprocess.run([sys.executable, "-c", use], env=environment, capture_output=True, text=True, timeout=120)
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    assert "'spearman': 50.0" in loaded.stdout
