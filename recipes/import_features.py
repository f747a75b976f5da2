"""Features that others computed, into the feature directory that training reads.

    python recipes/import_features.py --json flickr30k_ViT_L14.json --output_dir OUT
    python recipes/import_features.py --hdf5 flickr_resnet.hdf5 --captions flickr_random_captions.txt --output_dir OUT

The first is the released KDMCSE code's file, the second MCSE's ResNet features (of images alone: objective `mcse`).
A run that was stopped goes on when the same command is given again. See docs/teacher.md.
"""

import argparse
import pathlib
import sys

import numpy as np
from tqdm.auto import tqdm

from kdmcse_hf.commands.exit_status import CommandParser, exit_status, ranged
from kdmcse_hf.commands.outputs import check_folder
from kdmcse_hf.errors import InputError
from kdmcse_hf.features.importers import import_images, read_mcse_hdf5, read_released_json
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.features.writer import FeatureWriter
from kdmcse_hf.files import sha256
from kdmcse_hf.ranges import AT_LEAST_1

SAMPLE = 2000  # captions whose features are measured


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line; argparse leaves with status 2 on unusable arguments."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--json", type=pathlib.Path, help="the released code's JSON of features")
    source.add_argument("--hdf5", type=pathlib.Path, help="MCSE's HDF5 file with the dataset `features`")
    parser.add_argument("--captions", type=pathlib.Path, help="with --hdf5: its captions, a line each")
    parser.add_argument("--output_dir", required=True, type=pathlib.Path, help="feature directory to write")
    parser.add_argument(
        "--teacher", default="unknown", help="name of the model that made the features, for the manifest"
    )
    parser.add_argument(
        "--images_per_shard", type=ranged(AT_LEAST_1), default=4096, help="images per shard (%(default)s)"
    )
    arguments = parser.parse_args(argv)
    if (arguments.hdf5 is None) != (arguments.captions is None):
        parser.error("--captions goes with --hdf5, and --hdf5 needs it")
    return arguments


def run(arguments: argparse.Namespace) -> None:
    """Import, complete the directory and say what is there."""
    files = [file for file in (arguments.json, arguments.hdf5, arguments.captions) if file]
    if missing := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(f"{missing[0]}: no such file")
    settings = {
        "teacher": {"name": arguments.teacher},
        "source": {file.name: sha256(file) for file in files},
        "options": {"images_per_shard": arguments.images_per_shard},
    }
    check_folder(arguments.output_dir, "--output_dir")
    writer = FeatureWriter(arguments.output_dir, settings)
    images = (
        read_released_json(arguments.json) if arguments.json else read_mcse_hdf5(arguments.hdf5, arguments.captions)
    )
    with writer.nothing_left():
        num_shards = import_images(tqdm(images, unit="img"), writer, arguments.images_per_shard)
        if not num_shards:
            raise InputError(f"{files[0]} holds no images")
    manifest = writer.finish(num_shards)
    print(f"{manifest['captions']:,} captions of {manifest['images']:,} images in {arguments.output_dir}")
    print(lengths_of(FeatureStore.open(arguments.output_dir)))
    for problem, count in manifest["problems"].items():
        print(f"skipped: {count:,} x {problem}, listed in {arguments.output_dir / 'problems.jsonl'}")


def lengths_of(store: FeatureStore) -> str:
    """How long the feature vectors are, in words: the threshold of the preset `released` depends on it."""
    rows = store.rows(np.unique(np.linspace(0, len(store) - 1, SAMPLE).astype(int)))
    found, normalised = [], True
    for name, label in (("image_embeds", "image"), ("text_embeds", "caption")):
        lengths = np.linalg.norm(rows[name], axis=1)
        if rows[name].shape[1]:
            found.append(f"{np.median(lengths):.3g} of {label} features")
            normalised = normalised and bool(np.allclose(lengths, 1, atol=0.01))
    return f"median length {', '.join(found)}: {'normalised' if normalised else 'not normalised'}"


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    return exit_status("import_features.py", lambda: run(parse_arguments(argv)))


if __name__ == "__main__":
    sys.exit(main())
