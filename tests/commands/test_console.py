"""`kdmcse COMMAND`: finds its commands, and configurations by name; the recipes launch the same functions."""

import contextlib
import importlib
import io
import runpy
import sys

import pytest
from paths import RECIPES

from kdmcse_hf.commands import train
from kdmcse_hf.commands.__main__ import COMMANDS, main
from kdmcse_hf.commands.configs import find_configuration, shipped_configurations


def start(*words: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the console command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(list(words))
        except SystemExit as end:
            status = end.code or 0
    return status, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def command_line(monkeypatch):
    """Programs name themselves by `sys.argv[0]`, which the console command changes."""
    monkeypatch.setattr(sys, "argv", ["kdmcse"])


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_shows_its_help_under_its_name(name):
    status, out, _ = start(name, "--help")
    assert status == 0
    assert out.startswith(f"usage: kdmcse {name} ")


def test_a_command_gets_the_words_and_gives_its_status(monkeypatch):
    monkeypatch.setattr(train, "main", lambda words: print(words) or 143)
    assert start("train", "CONFIG", "--seed", "3") == (143, "['CONFIG', '--seed', '3']\n", "")


@pytest.mark.parametrize("words", [[], ["trian"], ["--trian"]])
def test_anything_else_is_unusable(words):
    status, _, err = start(*words)
    assert status == 2
    assert "kdmcse: error: " in err


def test_configs_lists_names_and_what_they_are():
    status, out, _ = start("configs")
    assert status == 0
    lines = out.splitlines()
    assert [line for line in lines[:-1] if not line.startswith(" ")] == list(shipped_configurations())
    assert "KDMCSE-BERT on wiki+flickr by the paper's text" in out
    assert all(len(line) <= 80 for line in lines[:-1])
    assert lines[-1] == f"files: {RECIPES / 'configs'}"


class TestFindConfiguration:
    def test_a_file_wins_over_a_shipped_name(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        name = "kdmcse-bert-wiki-flickr"
        assert find_configuration(name) == RECIPES / "configs" / f"{name}.yaml"
        (tmp_path / name).mkdir()
        assert find_configuration(name) == RECIPES / "configs" / f"{name}.yaml", "a folder is no configuration"
        (tmp_path / name).rmdir()
        (tmp_path / name).write_text("seed: 1\n")
        assert (tmp_path / name).samefile(find_configuration(name))

    @pytest.mark.parametrize(
        ("name", "advice"),
        [
            ("kdmcse-bert-wiki-flikr", "did you mean kdmcse-bert-wiki-flickr? `kdmcse configs` lists them"),
            ("no/such/file.yaml", "there is no file no/such/file.yaml, and no shipped configuration has that name. "),
        ],
    )
    def test_neither_is_refused_with_advice(self, name, advice):
        status, _, err = start("train", name)
        assert status == 2
        assert err.startswith("kdmcse train: there is no file ")
        assert advice in err


def test_training_keys_override_a_shipped_configuration():
    status, _, err = start("train", "simcse-bert-wiki", "--text_datset", "mine.txt")
    assert status == 2
    assert "unknown argument --text_datset; did you mean text_dataset? kdmcse train --help lists all keys" in err


def test_a_file_without_keys_is_a_configuration_that_says_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    status, _, err = start("train", str(tmp_path / "empty.yaml"))
    assert status == 2
    assert "arguments are required: --model_name_or_path" in err


class TestRecipes:
    @pytest.mark.parametrize("name", [name.replace("-", "_") for name in COMMANDS if name not in ("train", "configs")])
    def test_a_recipe_launches_the_command(self, name, monkeypatch):
        monkeypatch.setattr(importlib.import_module(f"kdmcse_hf.commands.{name}"), "main", lambda words: words)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "a", "b"])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(RECIPES / f"{name}.py"), run_name="__main__")
        assert end.value.code == ["a", "b"]

    def test_the_training_recipe_with_arguments_trains_and_without_runs_the_demo(self, monkeypatch):
        pytest.importorskip("PIL")
        import demo.run

        monkeypatch.setattr(train, "main", lambda words: f"trained {words}")
        monkeypatch.setattr(demo.run, "run", lambda folder: f"demo in {folder}")
        recipe = runpy.run_path(str(RECIPES / "train.py"))
        assert recipe["main"]() == "demo in demo_output"
        monkeypatch.setattr(sys, "argv", ["train.py", "CONFIG"])
        assert recipe["main"]() == "trained ['CONFIG']"

    def test_a_demo_whose_libraries_are_missing_says_what_to_install(self, monkeypatch, capsys):
        monkeypatch.delitem(sys.modules, "demo.picture", raising=False)
        for name in ("demo.run", "demo.world", "demo.picture", "PIL"):
            monkeypatch.setitem(sys.modules, name, None)
        recipe = runpy.run_path(str(RECIPES / "train.py"))
        assert recipe["main"]() == 2
        assert "pip install 'kdmcse_hf[demo]'" in capsys.readouterr().err
