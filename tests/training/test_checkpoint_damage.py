"""A checkpoint of which a bit turned over, or a part is gone, is not resumed from: all regions of a small one."""

import json
import pathlib
import shutil

import pytest
import torch
from tiny_trainer import Crash, Worse, trainer

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.training.checkpoints import CheckpointError, ResumeError, checkpoint_fault, newest_whole_checkpoint
from kdmcse_hf.training.checksums import CHECKSUMS_NAME, begin_writing, damage, write_checksums

SAMPLE, ALL = 4, 64  # regions of each file


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory) -> pathlib.Path:
    """An output_dir with checkpoints of steps 4 and 8."""
    folder = tmp_path_factory.mktemp("run")
    trainer(folder, save_total_limit=None, max_steps=8).train()
    return folder / "out"


@pytest.mark.parametrize("regions", [SAMPLE, pytest.param(ALL, marks=pytest.mark.exhaustive)])
def test_no_flipped_bit_and_no_cut_is_accepted(two_checkpoints, regions):
    newest, before = two_checkpoints / "checkpoint-8", two_checkpoints / "checkpoint-4"
    assert newest_whole_checkpoint(str(two_checkpoints)) == str(newest)
    tried, accepted = 0, []
    for file in sorted(path for path in newest.rglob("*") if path.is_file()):
        content = file.read_bytes()
        for region in range(regions):
            place = region * len(content) // regions
            flipped = bytearray(content)
            flipped[place] ^= 1 << region % 8
            for what, other in (("flipped", bytes(flipped)), ("cut", content[:place])):
                file.write_bytes(other)
                tried += 1
                if newest_whole_checkpoint(str(two_checkpoints)) != str(before) or not checkpoint_fault(newest):
                    accepted.append(f"{file.name} {what} at {place}")
        file.unlink()
        tried += 1
        # A checkpoint that has lost its checksums alone is one of an earlier version, and is as it was.
        if file.name != CHECKSUMS_NAME and not checkpoint_fault(newest):
            accepted.append(f"{file.name} removed")
        file.write_bytes(content)
    assert not accepted
    assert tried >= 9 * (2 * regions + 1), "weights, heads, optimizer, scheduler, random state"
    assert newest_whole_checkpoint(str(two_checkpoints)) == str(newest), "all is as it was"


def test_every_byte_of_the_checksums_counts(two_checkpoints):
    """A name that turns into another's, an end at a line: nothing of the list may be left out."""
    newest = two_checkpoints / "checkpoint-8"
    file = newest / CHECKSUMS_NAME
    content = file.read_bytes()
    for place in range(0, len(content), 11):
        for other in (content[:place], content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]):
            file.write_bytes(other)
            assert damage(newest), place
    file.write_bytes(content)
    assert damage(newest) is None


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"])
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path, name):
    arguments = {"max_steps": 12, "save_total_limit": None}
    whole = trainer(tmp_path / "whole", **arguments)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "cut", callbacks=[Crash(9)], **arguments).train()
    flip(tmp_path / "cut" / "out" / "checkpoint-8" / name)
    resumed = trainer(tmp_path / "cut", **arguments)
    resumed.train(resume_from_checkpoint=True)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key


def flip(file: pathlib.Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_where_all_are_damaged_training_does_not_silently_start_over(tmp_path):
    trainer(tmp_path, max_steps=4).train()
    flip(tmp_path / "out" / "checkpoint-4" / "optimizer.pt")
    with pytest.raises(ResumeError, match=r"no checkpoint of .* \(checksums.json\): optimizer.pt"):
        newest_whole_checkpoint(str(tmp_path / "out"))


def test_a_damaged_best_is_not_restored(tmp_path):
    arguments = {"save_total_limit": None, "callbacks": [Worse()]}  # the first evaluation is the best
    ours = trainer(tmp_path, **arguments)
    ours.train()
    best = pathlib.Path(ours.state.best_model_checkpoint)
    flip(best / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=rf"{best}, the best checkpoint, cannot be restored: .*model.safetensors"
    ):
        ours._load_best_model()
    assert best.name == "checkpoint-4"
    with pytest.raises(CheckpointError, match="start the same command with --auto_resume true"):
        trainer(tmp_path, **arguments).train(resume_from_checkpoint=True)
    shutil.rmtree(best)
    again = trainer(tmp_path, **arguments)
    again.train(resume_from_checkpoint=True)
    assert again.state.best_global_step is None
    last = KDMCSEModel.from_pretrained(tmp_path / "out" / "checkpoint-12").state_dict()
    assert all(torch.equal(value, last[key]) for key, value in again.model.state_dict().items())


def test_a_checkpoint_whose_writing_has_ended_but_for_the_checksums_is_not_whole(two_checkpoints):
    newest = two_checkpoints / "checkpoint-8"
    content = (newest / CHECKSUMS_NAME).read_bytes()
    begin_writing(newest)
    assert "not written to its end" in checkpoint_fault(newest)
    (newest / CHECKSUMS_NAME).write_bytes(content)
    assert checkpoint_fault(newest) is None


def test_a_checkpoint_of_an_earlier_version_needs_its_weights(two_checkpoints, tmp_path):
    earlier = shutil.copytree(two_checkpoints / "checkpoint-8", tmp_path / "checkpoint-8")
    (earlier / CHECKSUMS_NAME).unlink()
    assert checkpoint_fault(earlier) is None
    (earlier / "model.safetensors").unlink()
    assert "lacks model.safetensors" in checkpoint_fault(earlier)
    assert newest_whole_checkpoint(str(two_checkpoints)).endswith("checkpoint-8")


def test_the_card_may_come_later_and_folders_of_sharded_states_are_covered(tmp_path):
    """As DeepSpeed lays them out, with a name to which a bit that turns over leads from another."""
    folder = tmp_path / "checkpoint-1"
    names = [f"global_step1/zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in (0, 1)]
    (folder / "global_step1").mkdir(parents=True)
    for name in names:
        (folder / name).write_text(name)
    begin_writing(folder)
    write_checksums(folder)
    (folder / "README.md").write_text("a card")
    assert damage(folder) is None
    assert [each["file"] for each in json.loads((folder / CHECKSUMS_NAME).read_text())["files"]] == names
    flip(folder / names[1])
    assert names[1] in damage(folder)
    (folder / names[1]).write_text(names[1])
    listing = (folder / CHECKSUMS_NAME).read_text()
    (folder / CHECKSUMS_NAME).write_text(listing.replace(names[0], names[1]))
    assert damage(folder)
