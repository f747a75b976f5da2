"""Families of model repositories, of our own files read back, and of values on the command line."""

import contextlib
import hashlib
import io
import json
import math
import pathlib
from collections.abc import Mapping
from unittest import mock

import add_scores
import hypothesis.strategies as st
import import_checkpoint
import import_features
import pyarrow as pa
import search
import tiny
import torch
import yaml
from hostile import AcceptedError, Case, Family
from hostile_data import ENTRY, flags, training
from hostile_values import ODD, foreign_bytes, odd_json

from kdmcse_hf.commands import evaluate, export_onnx, extract_features, inspect_teacher, push, report
from kdmcse_hf.commands.train_arguments import DataArguments
from kdmcse_hf.encoding.declared_pooling import write_sentence_transformers_files
from kdmcse_hf.features.verification import manifest_checksum
from kdmcse_hf.model.objectives import all_values
from kdmcse_hf.ranges import Range, Steps, ranges_of
from kdmcse_hf.training.inherited_arguments import INHERITED
from kdmcse_hf.training.training_args import KDMCSETrainingArguments


def checked_for_push(words: list[str]) -> int:
    """`push.main` up to where the folder has been checked: no server is asked."""
    with mock.patch("kdmcse_hf.hub.push.staged", side_effect=AcceptedError):
        return push.main(words)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@st.composite
def damaged_folder(
    draw,
    folder: pathlib.Path,
    names: list[str],
    keys: frozenset = frozenset(),
    says: tuple[str, ...] = (),
    must_be_whole: bool = True,
) -> Case:
    """A folder of which one file is missing, cut, foreign or JSON of another form.

    Args:
        folder: with the valid files.
        names: those that are damaged.
        keys: of JSON whose value is needed.
        says: what may stand in a message in place of the file's name.
        must_be_whole: whether what is no JSON at all must be refused.
    """
    name = draw(st.sampled_from([*names, ""]))
    if not name:
        return Case({}, refused=False)
    content, says = (folder / name).read_bytes(), (pathlib.Path(name).name, *says)
    how = draw(st.sampled_from(["values", "values", "bytes", "missing"]))
    if how == "missing":
        return Case({name: None}, says, None)
    if how == "values" and name.endswith(".json"):
        text, refused = draw(odd_json(json.loads(content), keys))
        return Case({name: text.encode()}, says, refused if must_be_whole else None)
    damaged, refused = draw(
        foreign_bytes(content, is_text=not name.endswith((".safetensors", ".arrow", ".bin", ".pt")))
    )
    is_read = name.endswith((".json", ".safetensors", ".arrow", ".bin", ".pt"))
    return Case({name: damaged}, says, refused if must_be_whole and is_read else None)


@st.composite
def garbage_under_checksum(draw, store: pathlib.Path) -> Case:
    """Tables of a feature directory that hold something else, with checksums that fit."""
    manifest = json.loads((store / "manifest.json").read_text())
    kind = draw(st.sampled_from(["captions", "images"]))
    entry = manifest["shards"][0][kind]
    with pa.ipc.open_stream(store / entry["file"]) as reader:
        batch = reader.read_next_batch()
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    name = draw(st.sampled_from(list(columns)))
    how = draw(st.sampled_from(["bytes", "gone", "texts", "numbers", "lists", "nulls", "no batch"]))
    if how == "gone":
        del columns[name]
    elif how != "bytes":
        rows = batch.num_rows
        columns[name] = {
            "texts": pa.array(["a"] * rows),
            "numbers": pa.array([1.5] * rows),
            "lists": pa.array([[1.0, 2.0]] * rows),
            "nulls": pa.nulls(rows, columns[name].type),
            "no batch": columns[name],
        }[how]
    changed = pa.record_batch(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, changed.schema) as writer:
        if how != "no batch":
            writer.write_batch(changed)
    table = draw(st.binary(min_size=1, max_size=60)) if how == "bytes" else sink.getvalue()
    entry["bytes"], entry["sha256"] = len(table), hashlib.sha256(table).hexdigest()
    manifest["sha256"] = manifest_checksum(manifest)
    is_same = how == "texts" and name in ("text", "image")
    return Case(
        {entry["file"]: table, "manifest.json": json.dumps(manifest).encode()},
        (pathlib.Path(entry["file"]).name, "manifest.json"),
        None if is_same else True,
    )


@st.composite
def broken_index(draw, sharded: pathlib.Path) -> Case:
    """A repository in shards whose index names other files, or is none."""
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    if draw(st.booleans()):
        first = next(iter(index["weight_map"]))
        name = draw(st.sampled_from(["missing.safetensors", "../x.safetensors", "config.json", ""]))
        index["weight_map"][first] = name
        return Case({"model.safetensors.index.json": json.dumps(index).encode()}, ("index", "model", name or "index"))
    content, refused = draw(odd_json(index, frozenset({"weight_map"})))
    return Case({"model.safetensors.index.json": content.encode()}, ("index", "model"), refused)


@st.composite
def settings_files(draw) -> Case:
    """YAML of a training run."""
    good = {"learning_rate": 1e-5, "margin": 0.1, "seed": 3, "pooling": "cls"}
    how = draw(st.sampled_from(["valid", "bytes", "odd", "text"]))
    whole = yaml.safe_dump(good).encode()
    if how == "valid":
        return Case({"a.yaml": whole}, refused=False)
    if how == "bytes":
        content, refused = draw(foreign_bytes(whole))
        return Case({"a.yaml": content}, ("a.yaml", *good, "did you mean"), refused if content else None)
    if how == "text":
        content = draw(
            st.sampled_from(
                [
                    "seed: 1\nseed: 2\n",
                    "- seed\n",
                    "seed\n",
                    "3\n",
                    "seed: &a [*a]\n",
                    "? [1]\n: 2\n",
                    "? {a: 1}\n: 2\n",
                    "seed: !!python/object/apply:os.getcwd []\n",
                    "{" * 500,
                    "seed: " + "[" * 3000,
                    "seed: 2020-01-01\n",
                    "3: 4\n",
                    "null: 4\n",
                    "sed: 4\n",
                    "seed: [1, --max_steps, 3]\n",
                    "seed: {a: 1}\n",
                    "a: b: c\n",
                    "\tseed: 1\n",
                ]
            )
        )
        return Case({"a.yaml": content.encode()}, ("a.yaml", "seed"))
    key = draw(st.sampled_from(["learning_rate", "margin", "seed", "pooling"]))
    odd = draw(st.sampled_from([name for name in ODD if name not in ("number", "fraction", "null", "date", "half")]))
    refused = (
        None
        if (key, odd) in (("learning_rate", "negative"), ("seed", "negative"), ("learning_rate", "true"))
        else True
    )
    return Case({"a.yaml": f"{key}: {ODD[odd]}\n".encode()}, ("a.yaml", key), refused)


def _outside(of: Range) -> list[str]:
    """Texts that a value may not be, by its declared range."""
    if of.type is bool:
        return ["maybe", "2", "3.5"]
    if of.type is str:
        return ["hostile"] if of.choices else ["", " "]
    out = ["nan", "inf", "-inf", "1e999", "hostile", "[]", "{}", "1,5", "9" * 5000]
    if of.type is int:
        out += ["0.5", "1e3"]
    if isinstance(of, Steps):
        out += ["0", "-1", "1.5", "-0.5"]
    small = 1 if of.type is int else 1e-9
    for limit, step in (
        (of.least, -small),
        (of.least, -1),
        (of.above, 0),
        (of.above, -1),
        (of.below, 0),
        (of.most, 1),
    ):
        if limit is not None and limit + step != of.off:
            out.append(str(of.type(limit + step)))
    return out


def _inside(of: Range) -> st.SearchStrategy[str]:
    """Texts that a value of an objective may be."""
    if of.type is bool:
        return st.sampled_from(["true", "false"])
    if of.type is str:
        return st.sampled_from(of.choices)
    low, high = max(of.least or 0, of.above or 0), of.below or 50
    if of.type is int:
        return st.integers(math.ceil(low), int(high)).map(str)
    floats = st.floats(low, high, exclude_min=of.above is not None, exclude_max=of.below is not None)
    return floats.filter(lambda each: each == 0 or each > 1e-6).map(str)


@st.composite
def declared_values(draw, ranges: Mapping[str, Range], is_alone: bool) -> Case:
    """Each argument on the command line beyond its declared range, and within where that depends on no other."""
    name = draw(st.sampled_from(sorted(ranges)))
    allowed = ranges[name]
    if is_alone and draw(st.booleans()):
        return Case(words=(f"--{name}={draw(_inside(allowed))}",), refused=False)
    return Case(words=(f"--{name}={draw(st.sampled_from(_outside(allowed)))}",), says=(name,))


@st.composite
def numbers(draw, names: list[str]) -> Case:
    """Whole numbers of a command as something else."""
    text = draw(st.sampled_from(["hostile", "-1", "nan", "inf", "[]", "9" * 5000, "1.5", "", "٣x"]))
    name = draw(st.sampled_from(names))
    is_seed = name.endswith("seed") and text in ("-1", "9" * 5000)
    return Case(words=(f"--{name}={text}",), says=(name,), refused=None if is_seed else True)


def _sharded(folder: pathlib.Path) -> pathlib.Path:
    tiny.encoder().save_pretrained(folder, max_shard_size="4KB")
    tiny.tokenizer().save_pretrained(folder)
    write_sentence_transformers_files(folder, "mean", 16)
    return folder


def _finished_run(folder: pathlib.Path) -> pathlib.Path:
    """A run's folder with each file that a page about it reads."""
    tiny.repository(folder)
    history = [
        {"step": step, "epoch": 0.1 * step, "eval_stsb_spearman": 50.0 + step, "eval_stsb_uniformity": -1.0}
        | {"eval_stsb_alignment": 0.5}
        for step in (0, 4, 8)
    ] + [{"step": 6, "epoch": 0.6, "loss": 1.5, "simcse_loss": 1.0, "learning_rate": 1e-5, "grad_norm": 1.0}]
    state = {"log_history": history, "best_global_step": 8, "global_step": 8, "max_steps": 8, "best_metric": 58.0}
    scores = {"model": "me/model", "pooling": "cls", "data": "Hub", "sts_avg": 50.0}
    scores["tasks"] = {"STS-B": {"spearman": 50.0, "pearson": 51.0, "n": 3, "subsets": {}}}
    scores["tasks"]["MR"] = {"accuracy": 70.0, "dev_accuracy": 71.0, "n": 5, "classifier": "senteval", "seed": 1}
    inspection = {"directory": "x", "teacher": {"name": "clip"}, "findings": ["good"], "captions": 3, "images": 2}
    environment = {"torch": "2", "accelerator": "none"}
    for name, content in (
        ("trainer_state.json", state),
        ("all_results.json", {"eval_stsb_spearman": 58.0, "epoch": 1.0}),
        ("scores.json", scores),
        ("inspection.json", inspection),
        ("environment.json", environment),
    ):
        (folder / name).write_text(json.dumps(content))
    (folder / "training.yaml").write_text("# accelerate launch x\nobjective: simcse\nseed: 1\n")
    card = "---\nlanguage: en\n---\n\n# A model\n\n<!-- results -->\n\n<!-- end of results -->\n\nVersions: torch 2.\n"
    (folder / "README.md").write_text(card)
    return folder


def _released(folder: pathlib.Path) -> pathlib.Path:
    encoder = tiny.encoder()
    encoder.config.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    state = {f"bert.{name}": tensor for name, tensor in encoder.state_dict().items()}
    linear = {"weight": torch.ones(16, 16), "bias": torch.ones(16)}
    torch.save(state | {f"mlp.dense.{name}": each for name, each in linear.items()}, folder / "pytorch_model.bin")
    mlp = {"mlp.dense.weight": torch.ones(4, 6), "mlp.dense.bias": torch.ones(4)}
    grounding = {"dense.weight": torch.ones(4, 16), "dense.bias": torch.ones(4)}
    torch.save({"grounding": grounding, "visn_model": mlp}, folder / "mcse.pt")
    return folder


def _store(folder: pathlib.Path) -> pathlib.Path:
    source = folder.parent / "released.json"
    source.write_text(json.dumps({f"{each}.jpg": ENTRY for each in range(3)}))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import_features.main(["--json", str(source), "--output_dir", str(folder)])
    return folder


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
    whole, sharded = tiny.repository(folder / "whole"), _sharded(folder / "sharded")
    run, store = _finished_run(folder / "run"), _store(folder / "store")
    released = _released(folder / "released")
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
