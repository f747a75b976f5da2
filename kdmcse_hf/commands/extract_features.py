"""Frozen teacher over images and captions, into a feature directory.

    kdmcse extract-features --teacher openai/clip-vit-base-patch32 --dataset DIR --output_dir OUT
    accelerate launch -m kdmcse_hf.commands.extract_features ...        several processes or GPUs
    accelerate launch recipes/extract_features.py ...                   the same in a checkout

`--dataset` is one of: a directory with metadata.jsonl or metadata.csv (file_name and captions); with --image_dir, a
Karpathy split file, COCO's captions_*.json, a Flickr .token file or a Flickr30k Entities directory; webdataset .tar
files; a Hub id, parquet file or `datasets` directory with an image column and a caption column.
A run that was stopped goes on when the same command is given again. See docs/teacher.md.
"""

import argparse
import os
import pathlib
import sys
import time

import torch
from tqdm.auto import tqdm

from ..errors import FailedError
from ..features.writer import FeatureWriter
from ..files import TEMPORARY_SUFFIX
from ..ranges import AT_LEAST_1, SEED
from ..teacher.extraction import ExtractionSettings, ImageSource, extract
from ..teacher.sources.open_source import open_source
from ..teacher.teacher import Teacher
from .exit_status import CommandParser, exit_status, program_name, ranged
from .outputs import check_folder

LOST_AFTER = 600.0  # seconds; a batch, the longest time between two signs of life, takes a minute on a slow CPU
TEACHER = "CLIP, SigLIP or SigLIP2, or of images alone a ResNet or timm model: Hub id or directory"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse leaves with status 2 on unusable arguments."""
    parser = CommandParser(
        prog=program_name(), description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--teacher", default="openai/clip-vit-base-patch32", help=TEACHER)
    add("--dataset", required=True, help="images and captions, in one of the forms above")
    add("--output_dir", required=True, type=pathlib.Path, help="feature directory to write, or to go on with")
    add("--image_dir", help="folder of the images, for sources that only name them")
    add("--split", help='split to take, "train+restval" for two; all if absent ("train" of a datasets source)')
    add("--image_column", default="image", help="image column of a datasets source (%(default)s)")
    add("--caption_column", help="caption column, or key in a tar's .json; found by its usual names if absent")
    add("--image_id_column", help="rows of one value here are captions of one image (datasets source)")
    add("--captions", choices=("all", "one"), default="all", help="all captions, or one at random per image (all)")
    add("--seed", type=ranged(SEED), default=0, help="of the random caption (%(default)s)")
    add("--batch_size", type=ranged(AT_LEAST_1), default=64, help="images, and captions, at once (%(default)s)")
    add(
        "--images_per_shard", type=ranged(AT_LEAST_1), default=4096, help="images a stopped run can lose (%(default)s)"
    )
    add(
        "--num_workers",
        type=ranged(AT_LEAST_1),
        default=min(8, os.cpu_count() or 1),
        help="decoding threads (%(default)s)",
    )
    dtypes = ("auto", "float32", "bfloat16", "float16")
    add("--dtype", choices=dtypes, default="auto", help="of the teacher; auto: float16 on a GPU, float32 elsewhere")
    problems = "unusable images and captions: list and skip, or stop at the first (%(default)s)"
    add("--problems", choices=("skip", "refuse"), default="skip", help=problems)
    return parser.parse_args(argv)


def load_teacher(name: str, dtype: str, local_rank: int) -> Teacher:
    """The teacher on this process's GPU, or on the CPU."""
    device = torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    if dtype == "auto":
        dtype = "float16" if device.type == "cuda" else "float32"
    return Teacher.load(name, getattr(torch, dtype), device)


def open_image_source(arguments: argparse.Namespace) -> ImageSource:
    """The image source of the command line."""
    return open_source(
        arguments.dataset,
        arguments.images_per_shard,
        image_dir=arguments.image_dir,
        split=arguments.split,
        image_column=arguments.image_column,
        caption_column=arguments.caption_column,
        id_column=arguments.image_id_column,
    )


def open_writer(arguments: argparse.Namespace, source: ImageSource, teacher: Teacher) -> FeatureWriter:
    """The writer, which refuses a directory that holds anything but a part of this very run."""
    settings = {
        "teacher": teacher.describe(),
        "source": {"dataset": arguments.dataset, "split": arguments.split, **source.describe()},
        "options": {name: getattr(arguments, name) for name in ("captions", "seed", "problems", "batch_size")},
    }
    return FeatureWriter(arguments.output_dir, settings)


def extract_share(
    arguments: argparse.Namespace, source: ImageSource, teacher: Teacher, writer: FeatureWriter, share: range
) -> None:
    """Extract those parts of this process's share that are not there yet; the first process shows progress."""
    quiet = share.start > 0
    checked = tqdm(share, desc="checking shards", unit="shard", leave=False, disable=quiet)
    todo = [part for part in checked if not writer.is_done(part)]
    settings = ExtractionSettings(
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        one_caption=arguments.captions == "one",
        seed=arguments.seed,
        refuse_problems=arguments.problems == "refuse",
    )
    sizes = [source.part_size(part) for part in todo]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    with tqdm(total=total, desc=f"{len(todo)} of {source.num_parts} shards", unit="img", disable=quiet) as bar:

        def show(part: int, images: int) -> None:
            sign_of_life(writer, share.start)
            finished = todo.index(part)
            if total is None and finished:  # tar files: guess from those that are finished
                bar.total = bar.n * len(todo) // finished
            bar.update(images)

        extract(source, teacher, writer, settings, todo, show)


def report(manifest: dict, directory: pathlib.Path) -> None:
    """Print what is there and what is not."""
    print(f"{manifest['captions']:,} captions of {manifest['images']:,} images in {directory}")
    if manifest["captions_cut"]:
        print(f"{manifest['captions_cut']:,} captions are longer than the teacher reads: their ends were cut")
    if manifest["problems"]:
        counts = ", ".join(f"{count:,} x {problem}" for problem, count in manifest["problems"].items())
        print(f"skipped: {counts}; each is listed in {directory / 'problems.jsonl'}")


def run(arguments: argparse.Namespace) -> None:
    """Extract this process's share; the first process waits for the others and completes the directory."""
    # Rank and size alone: processes share no state but the directory, so none waits in a collective that times out.
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    check_folder(arguments.output_dir, "--output_dir")
    source = open_image_source(arguments)
    teacher = load_teacher(arguments.teacher, arguments.dtype, int(os.environ.get("LOCAL_RANK", 0)))
    writer = open_writer(arguments, source, teacher)
    with writer.nothing_left():
        extract_share(arguments, source, teacher, writer, range(rank, source.num_parts, world))
    if rank == 0:
        wait_for_others(writer, source.num_parts)
        report(writer.finish(source.num_parts), arguments.output_dir)


def wait_for_others(writer: FeatureWriter, num_parts: int) -> None:
    """Return when all parts are there.

    Raises:
        FailedError: for `LOST_AFTER` seconds no process has shown a sign of life, see `sign_of_life`.
    """
    seen, since = None, time.monotonic()
    while missing := [part for part in range(num_parts) if not writer.is_done(part)]:
        folder = writer.directory / "shards"
        if (latest := max(path.stat().st_mtime_ns for path in (folder, *folder.glob("rank-*")))) != seen:
            seen, since = latest, time.monotonic()
        if time.monotonic() - since > LOST_AFTER:
            raise FailedError(
                f"{len(missing)} of {num_parts} shards are missing, and no process has written for {LOST_AFTER:g} "
                "seconds: a process was lost, or never started. What is written is whole, and the same command goes on"
            )
        time.sleep(1)


def sign_of_life(writer: FeatureWriter, rank: int) -> None:
    """Touch a file for the process that waits for the others; `FeatureWriter.finish` removes it."""
    (writer.directory / "shards" / f"rank-{rank}{TEMPORARY_SUFFIX}").touch()


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    return exit_status(program_name(), lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
