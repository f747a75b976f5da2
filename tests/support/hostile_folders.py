"""Cases of damaged folders: model repositories, feature directories, runs; and the whole folders."""

import contextlib
import hashlib
import io
import json
import pathlib

import hypothesis.strategies as st
import import_features
import pyarrow as pa
import tiny
import torch
from hostile import Case
from hostile_sets import ENTRY
from hostile_values import foreign_bytes, odd_json

from kdmcse_hf.encoding.declared_pooling import write_sentence_transformers_files
from kdmcse_hf.features.verification import manifest_checksum


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


def sharded_repository(folder: pathlib.Path) -> pathlib.Path:
    tiny.encoder().save_pretrained(folder, max_shard_size="4KB")
    tiny.tokenizer().save_pretrained(folder)
    write_sentence_transformers_files(folder, "mean", 16)
    return folder


def finished_run(folder: pathlib.Path) -> pathlib.Path:
    """A run's folder with each file that a page about it reads."""
    tiny.repository(folder)
    history = [
        {"step": step, "epoch": 0.1 * step, "eval_stsb_spearman": 50.0 + step, "eval_stsb_uniformity": -1.0}
        | {"eval_stsb_alignment": 0.5}
        for step in (0, 4, 8)
    ] + [{"step": 6, "epoch": 0.6, "loss": 1.5, "simcse_loss": 1.0, "learning_rate": 1e-5, "grad_norm": 1.0}]
    record = {"judge": "STS-B dev", "learning_rate": 1e-5, "multimodal_dataset": "none"}
    callbacks = {"RunRecord": {"args": {"record": record}, "attributes": {}}, "TrainerControl": {"args": {}}}
    state = {
        "stateful_callbacks": callbacks,
        "log_history": history,
        "best_global_step": 8,
        "global_step": 8,
        "max_steps": 8,
        "best_metric": 58.0,
    }
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


def released_checkpoint(folder: pathlib.Path) -> pathlib.Path:
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


def feature_directory(folder: pathlib.Path) -> pathlib.Path:
    source = folder.parent / "released.json"
    source.write_text(json.dumps({f"{each}.jpg": ENTRY for each in range(3)}))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import_features.main(["--json", str(source), "--output_dir", str(folder)])
    return folder
