"""What pip users get: the contents of wheel and source distribution, and the wheel at work away from the checkout."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
import tiny
import yaml
from huggingface_hub import ModelCard
from paths import ROOT

from kdmcse_hf.commands.__main__ import COMMANDS
from kdmcse_hf.version import __version__

CONFIGURATIONS = sorted(path.name for path in (ROOT / "recipes" / "configs").glob("*.yaml"))
FOLDERS = ("kdmcse_hf", "recipes", "tests", "docs", "benchmarks", "model_cards")


def sources(folder: str) -> set[str]:
    """All files of a folder of the checkout, but for what Python leaves there."""
    paths = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return {path.relative_to(ROOT).as_posix() for path in paths if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> pathlib.Path:
    """The folder of the source distribution and of the wheel that was built from it, both from a copy of the tree.

    Nothing is copied that earlier builds or runs left in the checkout.
    """
    folder = tmp_path_factory.mktemp("build")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / "tree" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob("[!.]*"):
        if path.is_file():
            shutil.copy(path, folder / "tree")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "tree")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder / "dist"


@dataclasses.dataclass
class Installed:
    """The wheel in a folder of its own, as `pip install` lays it out."""

    folder: pathlib.Path
    elsewhere: pathlib.Path

    def start(self, *command: str, path: tuple[pathlib.Path, ...] = ()) -> subprocess.CompletedProcess:
        """Run Python with the wheel's folder (and `path`, before it) as the only PYTHONPATH, in another folder."""
        paths = os.pathsep.join(map(str, [*path, self.folder]))
        environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            cwd=self.elsewhere,
            env=environment,
            timeout=300,
            check=False,
        )

    def kdmcse(self, *words: str, **options) -> subprocess.CompletedProcess:
        """Run the console command that pip wrote."""
        return self.start(str(self.folder / "bin" / "kdmcse"), *words, **options)


@pytest.fixture(scope="module")
def installed(distributions, tmp_path_factory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    (wheel,) = distributions.glob("*.whl")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*command, str(wheel)], capture_output=True, timeout=300, check=True)
    return Installed(folder, tmp_path_factory.mktemp("elsewhere"))


def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {"kdmcse_hf/py.typed", "kdmcse_hf/__init__.pyi", "kdmcse_hf/card/template.md"} <= names
    assert names == sources("kdmcse_hf") | {f"kdmcse_hf/configs/{name}" for name in CONFIGURATIONS}


def test_the_source_distribution_holds_the_project(distributions):
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {member.name.partition("/")[2] for member in content.getmembers() if member.isfile()}
    for folder in FOLDERS:
        assert sources(folder) <= names, folder
    assert {"setup.py", "pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".stamp")) or name.startswith((".", "build/"))]


def test_help_and_version_do_not_wait_for_torch(installed, tmp_path):
    """Libraries that cannot be imported stand in the way of the real ones."""
    for library in ("torch", "transformers", "accelerate", "datasets", "numpy"):
        (tmp_path / f"{library}.py").write_text(f"raise RuntimeError('{library} was imported')")
    shown = installed.kdmcse("--help", path=(tmp_path,))
    assert shown.returncode == 0, shown.stderr
    for name, what in COMMANDS.items():
        assert f"  {name} " in shown.stdout
        assert what in shown.stdout
    assert installed.kdmcse("--version", path=(tmp_path,)).stdout == f"kdmcse {__version__}\n"
    code = "import kdmcse_hf; print(kdmcse_hf.__version__, kdmcse_hf.__file__)"
    assert installed.start("-c", code, path=(tmp_path,)).stdout.split() == [
        __version__,
        str(installed.folder / "kdmcse_hf" / "__init__.py"),
    ]


def test_configurations_are_found_in_the_wheel(installed):
    listed = installed.kdmcse("configs")
    assert listed.returncode == 0, listed.stderr
    *lines, place = listed.stdout.splitlines()
    assert sorted(f"{line}.yaml" for line in lines if not line.startswith(" ")) == CONFIGURATIONS
    assert place == f"files: {installed.folder / 'kdmcse_hf' / 'configs'}"


def test_every_command_is_there_and_a_shipped_configuration_is_read_by_name(installed):
    """Offline its encoder is missing, which is told in one message."""
    code = (
        "import importlib, sys; from kdmcse_hf.commands.__main__ import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    print(importlib.import_module('kdmcse_hf.commands.' + name.replace('-', '_')).main.__module__)\n"
        "sys.exit(main(['train', 'kdmcse-bert-wiki-flickr']))"
    )
    refused = installed.start("-c", code)
    assert refused.stdout.split() == [f"kdmcse_hf.commands.{name.replace('-', '_')}" for name in COMMANDS]
    assert refused.returncode == 2, refused.stderr
    assert "kdmcse train: model_name_or_path google-bert/bert-base-uncased cannot be loaded" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_wheel_trains_and_writes_the_card(installed, tmp_path):
    values = {**tiny.write_training_files(tmp_path / "sources"), "max_steps": 2, "eval_steps": 2}
    values |= {"per_device_train_batch_size": 8, "use_cpu": True, "output_dir": str(tmp_path / "my-model")}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    trained = installed.kdmcse("train", str(tmp_path / "config.yaml"), "--learning_rate", "1e-3")
    assert trained.returncode == 0, trained.stderr[-3000:]
    card = ModelCard.load(tmp_path / "my-model" / "README.md")
    assert card.data.library_name == "sentence-transformers"
    assert f"kdmcse_hf {__version__}," in card.text
