"""Families of data files, and the commands that read them."""

import pathlib
from unittest import mock

import import_features
import tiny
import tiny_teachers
from hostile import AcceptedError, Family
from hostile_sets import mcse_hdf5, picture_folders, released_json, senteval, senteval_files, shards, transfer
from hostile_texts import annotations, entities, rows_of_features, rows_of_texts, scored_pairs

from kdmcse_hf.commands import evaluate, extract_features, train

_CONFIG = {
    "objective": "simcse",
    "max_steps": "1",
    "per_device_train_batch_size": "2",
    "use_cpu": "true",
    "eval_strategy": "no",
    "save_strategy": "no",
    "report": "none",
    "report_to": "none",
    "disable_tqdm": "true",
}


def training(words: list[str]) -> int:
    """`train.main`, but for what follows the loading: a run of seconds."""

    def accepted(trainer) -> None:
        raise AcceptedError

    with mock.patch.object(train, "run", accepted):
        return train.main(words)


def flags(**keys: object) -> list[str]:
    """A command line of training."""
    return [word for name, value in {**_CONFIG, **keys}.items() for word in (f"--{name}", str(value))]


NAMES = [
    "sentences",
    "captions with features",
    "annotation files",
    "Flickr30k Entities",
    "STS pairs",
    "SentEval's STS files",
    "SentEval's transfer files",
    "released JSON",
    "MCSE's HDF5",
    "tar files",
    "picture folders",
]


def families(folder: pathlib.Path) -> list[Family]:
    """All families of data files; `folder` gets the valid files that they share."""
    encoder = tiny.encoder_directory(folder / "encoder")
    teacher = str(tiny_teachers.make_teacher("clip", folder / "teacher"))
    text = folder / "text.txt"
    text.write_text("\n".join(tiny.sentences(8)), encoding="utf-8")
    data = senteval_files(folder / "senteval")

    def train_with(key: str, pattern: str = "", **more):
        def words(given: pathlib.Path, output: pathlib.Path) -> list[str]:
            source = next(given.glob(pattern)) if pattern else given
            base = {"model_name_or_path": encoder, "text_dataset": text, "output_dir": output}
            return flags(**{**base, key: source, **more})

        return words

    def extract(pattern: str = ""):
        def words(given: pathlib.Path, output: pathlib.Path) -> list[str]:
            source = next(given.glob(pattern)) if pattern else given
            return ["--teacher", teacher, "--dataset", str(source), "--output_dir", str(output), "--num_workers", "1"]

        return words

    def scored(given: pathlib.Path, output: pathlib.Path) -> list[str]:
        return [encoder, "--data", str(given), "--output_json", str(output / "scores.json")]

    listed = r"^(problems\.jsonl|settings\.json|images|shards|captions-\d+\.arrow)"
    return [
        Family("sentences", rows_of_texts(), training, train_with("text_dataset", "a.*")),
        Family(
            "captions with features",
            rows_of_features(),
            training,
            train_with("multimodal_dataset", "a.*", objective="kdmcse"),
        ),
        Family("annotation files", annotations(), training, train_with("multimodal_dataset", "*")),
        Family("Flickr30k Entities", entities(), training, train_with("multimodal_dataset")),
        Family(
            "STS pairs",
            scored_pairs(),
            training,
            train_with("stsb_path", "a.*", eval_strategy="steps", save_strategy="steps"),
        ),
        Family("SentEval's STS files", senteval(data), evaluate.main, scored, base=folder / "senteval"),
        Family("SentEval's transfer files", transfer(), evaluate.main, scored),
        Family(
            "released JSON",
            released_json(),
            import_features.main,
            lambda given, output: ["--json", str(given / "a.json"), "--output_dir", str(output)],
        ),
        Family(
            "MCSE's HDF5",
            mcse_hdf5(),
            import_features.main,
            lambda given, output: [
                *("--hdf5", str(given / "a.hdf5"), "--captions", str(given / "a.txt"), "--output_dir", str(output))
            ],
        ),
        Family("tar files", shards(), extract_features.main, extract("a.tar"), leaves=listed),
        Family("picture folders", picture_folders(), extract_features.main, extract(), leaves=listed),
    ]
