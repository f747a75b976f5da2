"""Get the data of the small replica (docs/replica.md) into the form that it reads.

    python recipes/get_replica_data.py --flickr8k Flickr8k.token.txt --output DATA

The sentences (the first of Wiki1M) and SentEval's evaluation sets come from the Hub.
Flickr8k's captions may not be passed on: its authors give them for research, in the file of the name above, with a
line `image.jpg#0<TAB>caption` for each. What is there stays as it is.
"""

import argparse
import itertools
import json
import pathlib
import sys
import tarfile

from huggingface_hub import hf_hub_download

from kdmcse_hf.annotation_files import read_token_file
from kdmcse_hf.commands.exit_status import CommandParser, exit_status
from kdmcse_hf.errors import InputError
from kdmcse_hf.files import write_text

REPOSITORY = "princeton-nlp/datasets-for-simcse"
SENTENCES = 11_914


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flickr8k", metavar="FILE", type=pathlib.Path, required=True, help="Flickr8k.token.txt")
    parser.add_argument("--output", metavar="DATA", type=pathlib.Path, required=True, help="folder to make")
    return exit_status("get_replica_data.py", lambda: run(parser.parse_args(argv)))


def run(arguments: argparse.Namespace) -> None:
    """Make what is missing; captions first, since nothing is downloaded for a file that cannot be read."""
    data = arguments.output
    write_captions(arguments.flickr8k, data / "captions" / "flickr8k.jsonl")
    write_sentences(data / "text" / "wiki1m_head.txt")
    if not (data / "senteval" / "STS").is_dir():
        with tarfile.open(download("senteval.tar")) as archive:
            archive.extractall(data / "senteval", filter="data")
    print(f"the replica's data: {data}")


def write_captions(source: pathlib.Path, target: pathlib.Path) -> None:
    """The captions of each image, by its name: the order that the replica's choice depends on."""
    entries = sorted(read_token_file(source, source.parent))
    if target.is_file():
        return
    lines = [json.dumps({"image": name, "captions": captions}) + "\n" for name, _, captions in entries]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, "".join(lines))


def write_sentences(target: pathlib.Path) -> None:
    """The first sentences of Wiki1M."""
    if not target.is_file():
        with open(download("wiki1m_for_simcse.txt"), encoding="utf-8") as file:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_text(target, "".join(itertools.islice(file, SENTENCES)))


def download(name: str) -> str:
    """A file of the Hub's repository; a message that says what is missing where it cannot be had."""
    try:
        return hf_hub_download(REPOSITORY, name, repo_type="dataset")
    except OSError as error:
        raise InputError(f"{name} of {REPOSITORY} cannot be had from the Hub: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
