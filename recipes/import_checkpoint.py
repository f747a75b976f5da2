"""Turn a checkpoint of the released SimCSE, MCSE or KDMCSE code into a model repository.

    python recipes/import_checkpoint.py INPUT OUTPUT

INPUT is a folder with `config.json`, `pytorch_model.bin`, the tokenizer's files and, for MCSE and KDMCSE, `mcse.pt`;
before or after their `simcse_to_huggingface.py`. OUTPUT then loads in `AutoModel`, `SentenceTransformer` and
`KDMCSEModel`, and `recipes/train.py --model_name_or_path OUTPUT` trains on from it, heads included (KDMCSE's with
`--preset released`, unless the paper's reading is wanted from there on).
"""

import argparse
import pathlib
import sys

from kdmcse_hf.commands.exit_status import CommandParser, exit_status
from kdmcse_hf.commands.outputs import check_folder
from kdmcse_hf.encoding.loading import load_tokenizer
from kdmcse_hf.errors import InputError
from kdmcse_hf.model.released_checkpoints import load_released


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, or see `exit_status`."""
    parser = CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", metavar="INPUT", type=pathlib.Path, help="folder that the released code wrote")
    parser.add_argument("output", metavar="OUTPUT", type=pathlib.Path, help="new folder for the repository")
    parser.add_argument(
        "--pooling",
        choices=("cls", "mean"),
        default="cls",
        help="what the repository declares; the released models are evaluated with cls, before the head",
    )
    return exit_status("import_checkpoint.py", lambda: run(parser.parse_args(argv)))


def run(arguments: argparse.Namespace) -> None:
    """Load, save, and say what was found."""
    if arguments.output.exists() and (not arguments.output.is_dir() or any(arguments.output.iterdir())):
        raise InputError(f"OUTPUT {arguments.output} exists and is not empty: give a new folder")
    check_folder(arguments.output, "OUTPUT")
    model = load_released(arguments.input, pooling=arguments.pooling)
    tokenizer = load_tokenizer(str(arguments.input), model.encoder)
    tokenizer.init_kwargs.pop("auto_map", None)  # names code that the new repository does not bring
    model.save_pretrained(str(arguments.output))
    tokenizer.save_pretrained(str(arguments.output))
    heads = [name for name, _ in model.named_children() if name.endswith("_head")]
    print(f"{type(model.encoder).__name__}, objective {model.config.objective}, {', '.join(heads)}")
    print(f"repository: {arguments.output}")


if __name__ == "__main__":
    sys.exit(main())
