"""Builds the demo world in one directory: pictures, captions, corpus, STS pairs, tokenizer, student and teacher."""

import csv
import json
import random
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from transformers import PreTrainedTokenizerFast

from kdmcse_hf.files import read_json

from . import progress
from .language import caption
from .picture import draw
from .scene import sample_scene
from .sts import Pair, sts_pairs
from .student import pretrain_student, train_tokenizer
from .teacher import new_teacher, recall, train_teacher
from .text import corpus

MANIFEST = "world.json"
DETAIL = 0.7  # how often a caption tells a size or a place


@dataclass(frozen=True)
class WorldSettings:
    """Sizes of the world and steps of its two models; the same settings give the same world."""

    pictures: int = 2500
    held_out: int = 200  # pictures that only measure the teacher
    captions: int = 3  # a picture
    sentences: int = 8000  # of the text corpus
    dev_pairs: int = 500
    test_pairs: int = 1000
    student_steps: int = 800
    teacher_steps: int = 300
    seed: int = 42


def build_world(directory: Path, settings: WorldSettings) -> tuple[dict, bool]:
    """Builds the world in `directory` unless it is there, whole, with the same settings: (manifest, was it there).

    The manifest holds `settings`, `student_loss`, `recall@1` and `recall@5`. The world is built beside `directory` and
    moved there when whole, so that an interrupted build never looks like a world.
    """
    path = directory / MANIFEST
    if path.is_file():
        manifest = read_json(path, {"settings": dict})
        if manifest["settings"] == asdict(settings):
            return manifest, True
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    captions, sentences = write_data(partial, settings)
    tokenizer = train_tokenizer(sentences + [text for texts in captions for text in texts])
    student, student_loss = pretrain_student(sentences, tokenizer, settings.student_steps, settings.seed)
    student.save_pretrained(partial / "student")
    tokenizer.save_pretrained(partial / "student")
    recalls = _build_teacher(partial, tokenizer, captions, settings)
    manifest = {"settings": asdict(settings), "student_loss": student_loss, **recalls}
    (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    return manifest, False


def _build_teacher(
    directory: Path, tokenizer: PreTrainedTokenizerFast, captions: list[list[str]], settings: WorldSettings
) -> dict[str, float]:
    torch.manual_seed(settings.seed)
    teacher, processor = new_teacher(tokenizer)
    pictures = [read_picture(directory / "pictures" / f"{index:05d}.png") for index in range(settings.pictures)]
    train_teacher(teacher, processor, pictures, captions, settings.teacher_steps, settings.seed)
    teacher.save_pretrained(directory / "teacher")
    processor.save_pretrained(directory / "teacher")
    rng = random.Random(settings.seed + 3)
    scenes = [sample_scene(rng) for _ in range(settings.held_out)]
    unseen, told = [draw(scene, rng) for scene in scenes], [caption(scene, rng) for scene in scenes]
    return {f"recall@{top}": recall(teacher, processor, unseen, told, top) for top in (1, 5)}


def write_data(directory: Path, settings: WorldSettings) -> tuple[list[list[str]], list[str]]:
    """Writes pictures/, corpus.txt, sts-dev.tsv and sts-test.tsv; returns the captions a picture and the corpus."""
    captions = _write_pictures(directory / "pictures", settings)
    sentences = corpus(settings.sentences, random.Random(settings.seed + 1))
    (directory / "corpus.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    taken = set(sentences).union(*captions)
    rng = random.Random(settings.seed + 2)
    for name, size in (("sts-dev.tsv", settings.dev_pairs), ("sts-test.tsv", settings.test_pairs)):
        _write_pairs(directory / name, sts_pairs(size, rng, taken))
    return captions, sentences


def _write_pictures(directory: Path, settings: WorldSettings) -> list[list[str]]:
    directory.mkdir()
    rng, captions = random.Random(settings.seed), []
    with open(directory / "metadata.jsonl", "w", encoding="utf-8") as metadata:
        for index in progress.steps("Drawing pictures with captions", settings.pictures, "picture"):
            scene = sample_scene(rng)
            name = f"{index:05d}.png"
            draw(scene, rng).save(directory / name)
            captions.append([caption(scene, rng, DETAIL) for _ in range(settings.captions)])
            metadata.write(json.dumps({"file_name": name, "captions": captions[-1]}) + "\n")
    return captions


def _write_pairs(path: Path, pairs: Iterable[Pair]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("sentence1", "sentence2", "score"))
        writer.writerows(pairs)


def read_picture(path: Path) -> Image.Image:
    """The picture at `path`, read whole, its file closed."""
    with Image.open(path) as image:
        return image.convert("RGB")
