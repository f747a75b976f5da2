"""recipes/extract_features.py: right features whatever the batches, processes, damage and interruptions."""

import contextlib
import errno
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import time

import datasets
import numpy as np
import pyarrow as pa
import pytest
import torch
import warm
from PIL import Image
from tiny_teachers import draw_imagefolder, make_teacher
from transformers import AutoModel

from kdmcse_hf.commands import extract_features
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.teacher.teacher import FAMILIES, Teacher

IMAGES = 22  # in shards of 6, the last of them short


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
    """A teacher of each family, a folder of images, and the uninterrupted result for CLIP."""
    folder = tmp_path_factory.mktemp("data")
    for family in FAMILIES:
        make_teacher(family, folder / family)
    captions = draw_imagefolder(folder / "images", IMAGES)
    (folder / "captions.json").write_text(json.dumps(captions))
    assert extract(folder, folder / "whole") == 0
    return folder


def extract(data: pathlib.Path, output: pathlib.Path, *more: str, family: str = "clip") -> int:
    return extract_features.main(arguments(data, output, family) + list(more))


def arguments(data: pathlib.Path, output: pathlib.Path, family: str = "clip") -> list[str]:
    paths = ["--teacher", data / family, "--dataset", data / "images", "--output_dir", output]
    return [*map(str, paths), "--images_per_shard", "6", "--batch_size", "4", "--num_workers", "2"]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file of a directory, for comparison to the byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_hold_the_features_of_a_direct_call(family, data, tmp_path):
    """Each caption's row has its own text's and its own image's features, for two batch sizes."""
    captions = json.loads((data / "captions.json").read_text())
    teacher, model = Teacher.load(str(data / family)), AutoModel.from_pretrained(data / family).eval()
    expected_images, expected_texts = [], []
    with torch.no_grad():
        for name, texts in captions.items():
            image = Image.open(data / "images" / name).convert("RGB")
            pixels = teacher.image_processor(images=[image], return_tensors="pt")
            expected_images += [model.get_image_features(**pixels).pooler_output[0].numpy()] * len(texts)
            for text in texts:
                expected_texts.append(
                    model.get_text_features(**teacher.prepare_texts([text])).pooler_output[0].numpy()
                )
    for batch_size in (1, 7):
        output = tmp_path / str(batch_size)
        assert extract(data, output, "--batch_size", str(batch_size), family=family) == 0
        rows = FeatureStore.open(output).rows(range(len(expected_texts)))
        assert rows["text"] == [text for texts in captions.values() for text in texts]
        np.testing.assert_allclose(rows["image_embeds"], expected_images, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(rows["text_embeds"], expected_texts, rtol=2e-3, atol=2e-3)
        assert rows["image_ids"].tolist() == [i for i, texts in enumerate(captions.values()) for _ in texts]


def _run_and_die(argv: list[str], deadly_write: int) -> None:
    """Extract, and be killed when the n-th file is written but does not have its name yet."""
    torch.set_num_threads(1)
    writes = 0

    def fsync(_: int) -> None:
        nonlocal writes
        writes += 1
        if writes == deadly_write:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync
    extract_features.main(argv)


@pytest.mark.parametrize("deadly_write", [1, 2, 3, 4, 6, 8, 13, 14, 15, 19])
def test_a_killed_run_ends_in_the_same_bytes(deadly_write, data, tmp_path):
    """kill -9 at ten points, in shards, their records and the manifest; the same command then completes it."""
    process = multiprocessing.get_context("fork").Process(
        target=_run_and_die, args=(arguments(data, tmp_path / "out"), deadly_write)
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises((ValueError, FileNotFoundError), match="unfinished|not a feature directory"):
        FeatureStore.open(tmp_path / "out")
    assert extract(data, tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(data / "whole")


def _extract_as_one_of(rank: int, world: int, argv: list[str], log: str) -> None:
    with open(f"{log}{rank}", "w", encoding="utf-8") as file, contextlib.redirect_stderr(file):
        assert extract_features.main(argv) == 0


def test_two_processes_end_in_the_same_bytes(data, tmp_path):
    """As `accelerate launch` starts them: each writes its own shards, the directory is that of one."""
    warm.run_ranks(_extract_as_one_of, 2, arguments(data, tmp_path / "out"), str(tmp_path / "log"))
    assert "2 of 4 shards" in (tmp_path / "log0").read_text()  # the first process had half of them
    assert contents(tmp_path / "out") == contents(data / "whole")


@pytest.mark.parametrize("file", ["captions-00001.arrow", "images/images-00002.arrow", "shards/00003.json"])
@pytest.mark.parametrize("damage", ["short", "flipped", "absent"])
def test_damaged_shards_are_found_and_redone(file, damage, data, tmp_path):
    """Torn, changed and lost files: the reader refuses what it can see, and the same command repairs all."""
    shutil.copytree(data / "whole", tmp_path / "out")
    path = tmp_path / "out" / file
    content = bytearray(path.read_bytes())
    if damage == "absent":
        path.unlink()
    elif damage == "short":
        path.write_bytes(content[:-8])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    if file.endswith(".arrow"):
        with pytest.raises((ValueError, FileNotFoundError), match="again"):
            FeatureStore.open(tmp_path / "out").verify()
    assert extract(data, tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(data / "whole")
    FeatureStore.open(tmp_path / "out").verify()


def test_a_shard_of_another_teacher_is_redone(data, tmp_path):
    """A whole shard with its record, copied from the directory of another teacher, is not taken for ours."""
    assert extract(data, tmp_path / "other", family="siglip") == 0
    shutil.copytree(data / "whole", tmp_path / "out")
    for file in ("captions-00001.arrow", "images/images-00001.arrow", "shards/00001.json"):
        shutil.copy(tmp_path / "other" / file, tmp_path / "out" / file)
    assert extract(data, tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(data / "whole")


def test_a_process_that_was_lost_is_not_waited_for_without_end(data, tmp_path, monkeypatch, capsys):
    """The first of two processes has written its half; what the other one writes, or touches, keeps it waiting."""
    monkeypatch.setattr(extract_features, "LOST_AFTER", 0.05)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) < 4:
            (tmp_path / "out" / "shards" / f"rank-{len(naps)}.tmp").touch()
        real_sleep(0.1)

    real_sleep = time.sleep
    monkeypatch.setattr(extract_features.time, "sleep", nap)
    assert extract(data, tmp_path / "out") == 1
    assert "2 of 4 shards are missing, and no process has written" in capsys.readouterr().err
    assert len(naps) == 4, "as long as there were signs of life, and once more"
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert extract(data, tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(data / "whole"), "no sign of life is left"


def test_a_full_disk_is_one_message_and_the_same_command_goes_on(data, tmp_path, monkeypatch, capsys):
    """As the kernel says it, after the first shard."""
    written = []

    def full(path, mode):
        written.append(path)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return real(path, mode)

    real = pa.OSFile
    monkeypatch.setattr(pa, "OSFile", full)
    assert extract(data, tmp_path / "out") == 1
    printed = capsys.readouterr().err
    assert "No space left on device. Make room, then give the same command again" in printed
    assert "Traceback" not in printed
    monkeypatch.undo()
    assert extract(data, tmp_path / "out") == 0
    assert contents(tmp_path / "out") == contents(data / "whole")


@pytest.mark.parametrize("place", ["file", "file/out", "/proc/out"])
def test_an_output_that_cannot_be_written_to_is_refused_before_the_teacher_is_loaded(
    place, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(extract_features, "load_teacher", lambda *_: pytest.fail("the teacher was loaded"))
    (tmp_path / "file").write_text("in the way")
    assert extract(data, tmp_path / place) == 2
    assert f"--output_dir {tmp_path / place} cannot be written to" in capsys.readouterr().err


def test_a_teacher_whose_parts_do_not_go_together_is_refused_at_the_start(data, tmp_path, capsys):
    """Its image processor makes pictures of another size than the model takes, or of none."""
    for number, size in enumerate(({"height": 16, "width": 16}, {}, "large")):
        folder = shutil.copytree(data / "siglip", tmp_path / str(number))
        path = folder / "preprocessor_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "size": size}))
        assert extract(data, tmp_path / "out", "--teacher", str(folder)) == 2
        assert str(folder) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_directory_of_other_settings_is_refused(data, tmp_path, capsys):
    """Another teacher, choice of captions, other images or a foreign directory: status 2, nothing changed."""
    before = contents(data / "whole")
    assert extract(data, data / "whole", family="siglip") == 2
    assert "begun with teacher.model_type" in capsys.readouterr().err
    assert extract(data, data / "whole", "--captions", "one") == 2
    assert "options.captions" in capsys.readouterr().err
    draw_imagefolder(tmp_path / "images", IMAGES, seed=5)
    assert extract(data, data / "whole", "--dataset", str(tmp_path / "images")) == 2
    assert "source." in capsys.readouterr().err
    assert extract(data, data / "images") == 2
    assert "holds something else" in capsys.readouterr().err
    assert contents(data / "whole") == before
    assert extract(data, data / "whole", "--batch_size", "2") == 0  # may change: a run can go on with less memory
    assert contents(data / "whole") == before


def test_one_caption_is_drawn_by_the_seed(data, tmp_path):
    """One of each image's captions, the same for the same seed, another for another."""
    captions = json.loads((data / "captions.json").read_text())
    drawn = []
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert extract(data, tmp_path / name, "--captions", "one", "--seed", seed) == 0
        rows = FeatureStore.open(tmp_path / name).rows(range(IMAGES))
        assert all(text in texts for text, texts in zip(rows["text"], captions.values(), strict=True))
        drawn.append(rows["text"])
    assert drawn[0] == drawn[1] != drawn[2]


def test_unusable_images_and_captions_are_listed_or_refused(data, tmp_path, capsys):
    """Broken, missing and uncaptioned images, empty captions: counted and named, or the run stops at the first."""
    images = tmp_path / "images"
    captions = draw_imagefolder(images, 8)
    (images / "0002.png").write_bytes((images / "0002.png").read_bytes()[:60])
    (images / "0004.png").unlink()
    captions |= {"0005.png": ["", "a red circle", "  "], "0006.png": [], "0007.png": [None]}
    lines = [json.dumps({"file_name": name, "captions": texts}) for name, texts in captions.items()]
    (images / "metadata.jsonl").write_text("\n".join(lines))
    assert extract(data, tmp_path / "out", "--dataset", str(images)) == 0
    output = capsys.readouterr().out
    assert "1 x broken picture" in output
    assert "problems.jsonl" in output
    store = FeatureStore.open(tmp_path / "out")
    expected = {"broken picture": 1, "empty caption": 3, "missing picture": 1, "no caption": 2}
    assert store.manifest["problems"] == expected
    listed = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert {(entry["image"], entry["problem"]) for entry in listed} == {
        ("0002.png", "broken picture"),
        ("0004.png", "missing picture"),
        ("0005.png", "empty caption"),
        ("0006.png", "no caption"),
        ("0007.png", "empty caption"),
        ("0007.png", "no caption"),
    }
    ids = store.rows(range(len(store)))["image_ids"]
    assert set(ids.tolist()) == {0, 1, 3, 5}  # the second shard is left empty
    assert set(datasets.load_from_disk(tmp_path / "out")["image_id"]) == {0, 1, 3, 5}
    assert datasets.load_from_disk(tmp_path / "out" / "images")["image"][:] == [f"000{i}.png" for i in (0, 1, 3, 5)]
    assert extract(data, tmp_path / "refused", "--dataset", str(images), "--problems", "refuse") == 2
    assert "png: " in capsys.readouterr().err


def test_nothing_usable_is_an_error(data, tmp_path, capsys):
    """A folder whose images are all missing ends with status 2 and names the report."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "a"}\n')
    assert extract(data, tmp_path / "out", "--dataset", str(tmp_path / "images")) == 2
    assert "not one image was usable" in capsys.readouterr().err


def test_unusable_arguments_exit_with_status_2(data, tmp_path, capsys):
    """A teacher or data set that is not there, and a batch of nothing."""
    assert extract(data, tmp_path / "out", "--dataset", str(tmp_path / "absent")) == 2
    assert "absent" in capsys.readouterr().err
    assert extract(data, tmp_path / "out", family="no-teacher") == 2
    assert "cannot be loaded" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        extract(data, tmp_path / "out", "--batch_size", "0")
