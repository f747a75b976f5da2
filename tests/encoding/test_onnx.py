"""ONNX export, and what text-embeddings-inference expects to find in a repository."""

import importlib.util
import json
import pathlib
import sys

import pytest
import tiny
import torch
from safetensors import safe_open
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.commands import export_onnx

FAMILIES = ["bert", "roberta"]


def repository(folder: pathlib.Path, family: str, pooling: str) -> str:
    KDMCSEModel.from_encoder(tiny.encoder(family), pooling=pooling, objective="simcse").save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(("family", "pooling"), [("bert", "cls"), ("roberta", "mean")])
def test_onnx_gives_torchs_embeddings_for_any_batch_and_length(family, pooling, tmp_path, capsys):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    onnxruntime = pytest.importorskip("onnxruntime")
    model = repository(tmp_path / "model", family, pooling)
    assert export_onnx.main([model, str(tmp_path / "out")]) == 0
    assert "largest difference" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "onnx" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = KDMCSEModel.from_pretrained(model)
    for count in (1, 7):
        batch = tokenizer(tiny.sentences(count, seed=count), padding=True, return_tensors="pt")
        names = [column.name for column in session.get_inputs()]
        tokens, sentences = session.run(None, {name: batch[name].numpy() for name in names})
        with torch.inference_mode():
            expected = ours.embed(batch["input_ids"], batch["attention_mask"])
            hidden = AutoModel.from_pretrained(model)(**{name: batch[name] for name in names}).last_hidden_state
        torch.testing.assert_close(torch.from_numpy(sentences), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(tokens), hidden, rtol=1e-4, atol=1e-5)
    # What sentence-transformers and optimum read beside the graph.
    for name in ("config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json"):
        assert (tmp_path / "out" / name).is_file(), name


def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert export_onnx.main([repository(tmp_path, "bert", "cls"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    name = "onnxscript" if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime") else "onnx"
    assert f"{name}" in error
    assert "pip install 'kdmcse_hf[onnx]'" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_repository_holds_what_text_embeddings_inference_reads(family, pooling, tmp_path):
    """From the source of github.com/huggingface/text-embeddings-inference, commit 0d124dc (July 2026).

    router/src/lib.rs reads config.json (ModelConfig), 1_Pooling/config.json (PoolConfig), tokenizer.json and
    config_sentence_transformers.json (NewSTConfig); without sentence_bert_config.json the longest input is that of the
    position embeddings. backends/candle/src/models/bert.rs reads BertConfig and the names of weights, RoBERTa
    included.
    """
    repository(tmp_path, family, pooling)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == [type(tiny.encoder(family)).__name__]
    assert not config["architectures"][0].endswith(("Classification", "MaskedLM"))  # these are no embedding models
    assert config["model_type"] == family
    sizes = [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
        "type_vocab_size",
    ]
    assert all(type(config[name]) is int for name in [*sizes, "max_position_embeddings", "pad_token_id"])
    assert all(type(config[name]) in (int, float) for name in ("hidden_dropout_prob", "layer_norm_eps"))
    assert type(config["initializer_range"]) is float
    assert config["hidden_act"] == "gelu"
    assert config.get("position_embedding_type", "absolute") == "absolute"
    assert config.get("auto_map") is None
    poolings = json.loads((tmp_path / "1_Pooling" / "config.json").read_text())
    assert poolings["pooling_mode_cls_token"] is (pooling == "cls")
    assert poolings["pooling_mode_mean_tokens"] is (pooling == "mean")
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert json.loads((tmp_path / "config_sentence_transformers.json").read_text()).get("prompts") is None
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
    parts = ["word_embeddings", "token_type_embeddings", "position_embeddings", "LayerNorm"]
    layer = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    layer += ["attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm"]
    parts = [f"embeddings.{part}" for part in parts] + [f"encoder.layer.0.{part}" for part in layer]
    assert {f"{part}.weight" for part in parts} <= names
