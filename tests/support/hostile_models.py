"""Families of model repositories, of our own files read back, and of values on the command line."""

import pathlib
from unittest import mock

import add_scores
import import_checkpoint
import import_features
import search
import tiny
from hostile import AcceptedError, Case, Family
from hostile_arguments import declared_values, numbers, settings_files
from hostile_data import flags, training
from hostile_folders import (
    broken_index,
    contents,
    damaged_folder,
    feature_directory,
    finished_run,
    garbage_under_checksum,
    released_checkpoint,
    sharded_repository,
)
from hostile_values import foreign_bytes

from kdmcse_hf.commands import evaluate, export_onnx, extract_features, inspect_teacher, push, report
from kdmcse_hf.commands.train_arguments import DataArguments
from kdmcse_hf.model.objectives import all_values
from kdmcse_hf.ranges import ranges_of
from kdmcse_hf.training.inherited_arguments import INHERITED
from kdmcse_hf.training.training_args import KDMCSETrainingArguments


def checked_for_push(words: list[str]) -> int:
    """`push.main` up to where the folder has been checked: no server is asked."""
    with mock.patch("kdmcse_hf.hub.push.staged", side_effect=AcceptedError):
        return push.main(words)


NAMES = [
    "repositories, scored",
    "repositories, trained on",
    "shard index, scored",
    "sentence-transformers' repositories, scored",
    "repositories, pushed",
    "repositories, exported",
    "released checkpoints",
    "feature directories",
    "features under a right checksum",
    "features begun",
    "runs on a page",
    "scores to go on from",
    "scores for a card",
    "settings in YAML",
    "values of objectives",
    "arguments of training",
    "numbers of extraction",
    "numbers of inspection",
    "studies",
]


def families(folder: pathlib.Path) -> list[Family]:
    """All families of models, own files and values; `folder` gets the valid files that they share."""
    encoder = tiny.encoder_directory(folder / "encoder")
    whole, sharded = tiny.repository(folder / "whole"), sharded_repository(folder / "sharded")
    run, store = finished_run(folder / "run"), feature_directory(folder / "store")
    released = released_checkpoint(folder / "released")
    data = folder / "data"
    data.mkdir()
    lines = [f"g\tf\ty\t0\t{row['score']:.3f}\t{row['sentence1']}\t{row['sentence2']}" for row in tiny.pairs(6)]
    (data / "sts-test.csv").write_text("\n".join(lines) + "\n")
    text = folder / "text.txt"
    text.write_text("\n".join(tiny.sentences(8)), encoding="utf-8")
    parts = ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]
    pooled = ["modules.json", "1_Pooling/config.json"]
    heads = "kdmcse_heads.safetensors"
    repository = ("repository", "in", "model", "tokenizer", "configuration", "pooling")

    def score(given: pathlib.Path, output: pathlib.Path) -> list[str]:
        return [str(given), "--tasks", "STS-B", "--data", str(data)]

    def train(given: pathlib.Path, output: pathlib.Path) -> list[str]:
        return flags(model_name_or_path=given, text_dataset=text, output_dir=output)

    def train_yaml(given: pathlib.Path, output: pathlib.Path) -> list[str]:
        return [str(given / "a.yaml"), *train(encoder, output)]

    def train_captions(given: pathlib.Path, output: pathlib.Path) -> list[str]:
        keys = {"model_name_or_path": encoder, "text_dataset": text, "output_dir": output}
        return flags(**keys, objective="kdmcse", multimodal_dataset=store)

    shards = [name for name in contents(store) if name.startswith(("manifest", "captions", "images/images"))]
    pairs = ["--eval_strategy", "steps", "--stsb_path", str(folder / "pairs.csv")]
    tiny.pairs(6).to_csv(folder / "pairs.csv", index=False)
    arguments = {**INHERITED, **ranges_of(KDMCSETrainingArguments), **ranges_of(DataArguments)}
    loaded = [*parts, "modules.json"]
    needed = frozenset({"hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"})
    page = ["trainer_state.json", "all_results.json", "scores.json", "inspection.json", "config.json"]
    page += ["environment.json", "training.yaml", "README.md"]
    state = frozenset({"log_history", "best_global_step", "tasks"})
    return [
        Family("repositories, scored", damaged_folder(whole, loaded, needed, repository), evaluate.main, score, whole),
        Family(
            "repositories, trained on",
            damaged_folder(whole, [*loaded, heads], needed, repository),
            training,
            train,
            whole,
        ),
        Family("shard index, scored", broken_index(sharded), evaluate.main, score, sharded),
        Family(
            "sentence-transformers' repositories, scored",
            damaged_folder(sharded, [*pooled, *parts[:3]], needed, repository),
            evaluate.main,
            score,
            sharded,
        ),
        Family(
            "repositories, pushed",
            damaged_folder(whole, [*parts, *pooled, heads], needed, repository),
            checked_for_push,
            lambda given, output: [str(given), "me/model", "--timeout", "0.01"],
            whole,
        ),
        Family(
            "repositories, exported",
            damaged_folder(whole, loaded, needed, repository).filter(lambda each: each.refused),
            export_onnx.main,
            lambda given, output: [str(given), str(output)],
            whole,
        ),
        Family(
            "released checkpoints",
            damaged_folder(
                released, ["config.json", "pytorch_model.bin", "mcse.pt", "tokenizer.json"], needed, repository
            ),
            import_checkpoint.main,
            lambda given, output: [str(given), str(output)],
            released,
        ),
        Family(
            "feature directories",
            damaged_folder(
                store, shards, frozenset({"format", "shards", "captions", "file"}), ("manifest.json", "in")
            ),
            inspect_teacher.main,
            lambda given, output: [str(given), "--output_dir", str(output), "--num_batches", "2", "--batch_size", "2"],
            store,
        ),
        Family(
            "features under a right checksum",
            garbage_under_checksum(store),
            inspect_teacher.main,
            lambda given, output: [str(given), "--output_dir", str(output), "--num_batches", "2", "--batch_size", "2"],
            store,
        ),
        Family(
            "features begun",
            damaged_folder(
                store,
                ["settings.json", "shards/00000.json"],
                frozenset({"format", "teacher"}),
                ("begun with", "output_dir"),
                False,
            ),
            import_features.main,
            lambda given, output: ["--json", str(store.parent / "released.json"), "--output_dir", str(given)],
            store,
        ),
        Family(
            "runs on a page",
            damaged_folder(run, page, state),
            report.main,
            lambda given, output: [str(given), "--output", str(output / "page.html")],
            run,
        ),
        Family(
            "scores to go on from",
            damaged_folder(run, ["scores.json"], frozenset({"tasks", "spearman", "accuracy"})),
            evaluate.main,
            lambda given, output: [
                encoder,
                "--tasks",
                "STS-B",
                "--data",
                str(data),
                "--resume",
                "--output_json",
                str(given / "scores.json"),
            ],
            run,
        ),
        Family(
            "scores for a card",
            damaged_folder(
                run,
                ["scores.json", "config.json", "README.md"],
                frozenset({"tasks", "spearman", "pooling", "objective"}),
            ),
            add_scores.main,
            lambda given, output: [str(given), str(given / "scores.json")],
            run,
        ),
        Family("settings in YAML", settings_files(), training, train_yaml),
        Family("values of objectives", declared_values(all_values(), True), training, train_captions),
        Family("arguments of training", declared_values(arguments, False), training, train_captions),
        Family(
            "numbers of extraction",
            numbers(["batch_size", "images_per_shard", "num_workers"]),
            extract_features.main,
            lambda given, output: ["--teacher", "x", "--dataset", str(given), "--output_dir", str(output)],
        ),
        Family(
            "numbers of inspection",
            numbers(["batch_size", "num_batches", "max_images", "examples", "quantile", "seed"]),
            inspect_teacher.main,
            lambda given, output: [str(store), "--output_dir", str(output)],
        ),
        Family(
            "studies",
            foreign_bytes(b"SQLite format 3\x00" + bytes(200), is_text=False).map(
                lambda found: Case({"search.db": found[0] if len(found[0]) > 100 else b"x" * 100}, ("search.db",))
            ),
            search.main,
            lambda given, output: [*train_captions(given, given), "--trials", "1", *pairs],
        ),
    ]
