"""What is sent to the Hub is a copy that nobody changes."""

import pathlib
import shutil

import pytest
import tiny

from kdmcse_hf.hub.private_copy import clear_staging, stage
from kdmcse_hf.hub.repository_files import check_repository, repository_files


@pytest.fixture
def repository(tmp_path) -> pathlib.Path:
    return tiny.repository(tmp_path / "model")


def test_a_copy_holds_the_repository_and_nothing_of_training(repository):
    for name in ("optimizer.pt", "rng_state.pth", "trainer_state.json", "training_args.bin", ".env", "notes.txt"):
        (repository / name).write_text("private")
    (repository / "checkpoint-3").mkdir()
    copy = stage(repository)
    names = sorted(path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file())
    assert names == [path.as_posix() for path in repository_files(repository)]
    assert {"model.safetensors", "kdmcse_heads.safetensors", "1_Pooling/config.json", "README.md"} <= set(names)
    assert not {name for name in names if name.endswith((".pt", ".pth", ".bin", ".env", ".txt"))}
    check_repository(copy)


def test_a_copy_outlives_its_checkpoint(repository):
    weights = (repository / "model.safetensors").read_bytes()
    copy = stage(repository, repository.parent)
    assert (copy / "model.safetensors").samefile(repository / "model.safetensors"), "weights are linked, not copied"
    (repository / "README.md").write_text("changed")
    shutil.rmtree(repository)
    assert (copy / "model.safetensors").read_bytes() == weights
    assert "changed" not in (copy / "README.md").read_text()
    clear_staging(copy.parent)
    assert not copy.exists()


def test_a_link_to_elsewhere_is_not_copied(repository):
    (repository.parent / "secret").write_text("of somebody else")
    (repository / "vocab.txt").symlink_to(repository.parent / "secret")
    with pytest.raises(ValueError, match=r"vocab.txt is a link to .*secret, outside of the repository"):
        stage(repository, repository.parent)
    assert not list(repository.parent.glob(".push-*"))


def test_no_room_for_a_copy_leaves_nothing_behind(repository, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        stage(repository)
    assert not list(repository.glob(".push-*"))
