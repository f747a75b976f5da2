"""Checkpoints in the layouts of the released SimCSE, MCSE and KDMCSE code, imported whole; bad ones refused."""

import copy
import os
import pathlib
import shutil

import import_checkpoint
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.model.released_checkpoints import load_released

IMAGE, TEXT, SHARED = 6, 6, 5
Linears = dict[str, torch.nn.Linear]


def linears(width: int, seed: int = 3) -> Linears:
    """What the released models have beside the encoder, under our names."""
    torch.manual_seed(seed)
    shapes = {"simcse": (width, width), "grounding": (width, SHARED), "image": (IMAGE, SHARED), "text": (TEXT, SHARED)}
    return {name: torch.nn.Linear(*shape) for name, shape in shapes.items()}


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + name: tensor for name, tensor in state.items()}


def write(folder: pathlib.Path, family: str, layout: str, converted: bool = False) -> tuple[torch.nn.Module, Linears]:
    """A folder as the released code of `layout` leaves it, and what is in it."""
    encoder, heads = tiny.encoder(family).eval(), linears(16)
    state = prefixed(f"{family}.", encoder.state_dict())
    state[f"{family}.embeddings.position_ids"] = torch.arange(40)[None]  # a buffer of old versions
    if layout == "simcse":
        state = {name: tensor for name, tensor in state.items() if ".pooler." not in name}
    state |= prefixed("mlp.dense." if layout == "simcse" else "pooler.dense.", heads["simcse"].state_dict())
    if converted:  # as simcse_to_huggingface.py renames them, the later of two equal names standing
        state = {name.replace("mlp", "pooler").replace(f"{family}.", ""): tensor for name, tensor in state.items()}
    config = copy.deepcopy(encoder.config)
    config.architectures = [f"{family.title()}{'Model' if converted else 'ForCL'}"]
    config.save_pretrained(folder)
    torch.save(state, folder / "pytorch_model.bin")
    names = {"mcse": {"mlp": "image"}, "kdmcse": {"vmlp": "image", "tmlp": "text"}}.get(layout)
    if names:
        teacher = {}
        for theirs, ours in names.items():
            teacher |= prefixed(f"{theirs}.dense.", heads[ours].state_dict())
        grounding = prefixed("dense.", heads["grounding"].state_dict())
        torch.save({"visn_model": teacher, "grounding": grounding}, folder / "mcse.pt")
    tiny.tokenizer().save_pretrained(folder)
    return encoder, heads


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("layout", ["simcse", "mcse", "kdmcse"])
@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_an_imported_model_computes_what_the_released_one_did(family, layout, converted, tmp_path):
    encoder, heads = write(tmp_path / "in", family, layout, converted)
    assert import_checkpoint.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    texts = tiny.sentences(5)
    tokens = AutoTokenizer.from_pretrained(tmp_path / "out")(
        texts, padding=True, return_tensors="pt", return_token_type_ids=False
    )
    with torch.inference_mode():
        cls = encoder(**tokens).last_hidden_state[:, 0]  # cls_before_pooler of their evaluation.py
        model = KDMCSEModel.from_pretrained(str(tmp_path / "out"))
        assert (model.config.objective, model.config.pooling) == (layout, "cls")
        torch.testing.assert_close(model.embed(tokens["input_ids"], tokens["attention_mask"]), cls)
        torch.testing.assert_close(model.objective.simcse_head(cls), torch.tanh(heads["simcse"](cls)))
        if layout != "simcse":
            picture = torch.randn(4, IMAGE)
            torch.testing.assert_close(model.objective.grounding_head(cls), torch.tanh(heads["grounding"](cls)))
            torch.testing.assert_close(model.objective.image_head(picture), torch.tanh(heads["image"](picture)))
        if layout == "kdmcse":
            assert (model.config.preset, model.config.margin, model.config.threshold) == ("released", 0.15, None)
            torch.testing.assert_close(model.objective.text_head(picture), torch.tanh(heads["text"](picture)))
        stock, report = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not any(report.values()), report
        # With pooler "cls", their AutoModel of a converted folder gives the head's output.
        torch.testing.assert_close(stock(**tokens).pooler_output, torch.tanh(heads["simcse"](cls)))
    sentence_transformers = pytest.importorskip("sentence_transformers")
    encoded = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(texts)
    torch.testing.assert_close(torch.from_numpy(encoded), cls, rtol=1e-4, atol=1e-5)


def test_safetensors_do_as_well(tmp_path):
    encoder, _ = write(tmp_path, "bert", "simcse")
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").unlink()
    ours = load_released(tmp_path).encoder.state_dict()
    assert all(torch.equal(ours[name], t) for name, t in encoder.state_dict().items() if "pooler" not in name)


def test_the_recorded_heads_give_the_recorded_losses(shared, tmp_path):
    """Heads and losses of the released code, recorded; the heads come in through `mcse.pt`."""
    data = np.load(shared / "golden" / "heads_b8.npz")
    arrays = {name: torch.from_numpy(data[name]) for name in data.files}
    width = arrays["in_cls"].shape[-1]
    config = tiny.CONFIGS["bert"].__class__(
        hidden_size=width, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8, vocab_size=20
    )
    encoder = AutoModel.from_config(config)
    encoder.config.save_pretrained(tmp_path)

    def dense(prefix: str, name: str) -> dict:
        return {f"{prefix}dense.weight": arrays[f"in_w_{name}"], f"{prefix}dense.bias": arrays[f"in_b_{name}"]}

    torch.save(prefixed("bert.", encoder.state_dict()) | dense("pooler.", "pooler"), tmp_path / "pytorch_model.bin")
    teacher = dense("vmlp.", "vmlp") | dense("tmlp.", "tmlp")
    torch.save({"visn_model": teacher, "grounding": dense("", "grounding")}, tmp_path / "mcse.pt")
    model = load_released(tmp_path).double()
    parts = model.compute_losses(arrays["in_cls"].double(), arrays["in_img"].double(), arrays["in_txt"].double())
    # The import holds the heads in float32.
    torch.testing.assert_close(parts["simcse_loss"], arrays["loss_intra"].double(), rtol=1e-4, atol=1e-8)
    recorded = arrays["loss_inter"].double()
    torch.testing.assert_close(parts["image_loss"] + parts["text_loss"], recorded, rtol=1e-5, atol=0)


class Trap:
    """What a hostile file may hold: code that runs when it is unpickled."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "mcse.pt"])
def test_a_malicious_pickle_is_refused_and_not_run(name, tmp_path, capsys):
    write(tmp_path / "in", "bert", "kdmcse")
    torch.save({"grounding": Trap(tmp_path / "sprung")}, tmp_path / "in" / name)
    assert import_checkpoint.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert f"{name} is cut short or holds more than tensors" in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "sprung").exists()
    assert not (tmp_path / "out").exists()


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def plain_encoder(folder: pathlib.Path) -> None:
    torch.save(prefixed("bert.", tiny.encoder("bert").state_dict()), folder / "pytorch_model.bin")


def other_heads(folder: pathlib.Path) -> None:
    torch.save({"head": {"weight": torch.zeros(1)}}, folder / "mcse.pt")


def half_a_head(folder: pathlib.Path) -> None:
    torch.save({"grounding": {"dense.weight": torch.zeros(5, 16)}, "visn_model": 3}, folder / "mcse.pt")


def other_size(folder: pathlib.Path) -> None:
    config = copy.deepcopy(tiny.CONFIGS["bert"])
    config.intermediate_size = 12
    config.save_pretrained(folder)


def without_tokenizer(folder: pathlib.Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "has no config.json"),
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "pytorch_model.bin").unlink(), "has no pytorch_model.bin and no model.safetensors"),
        (lambda folder: truncate(folder / "pytorch_model.bin"), "is cut short"),
        (plain_encoder, "has no SimCSE head"),
        (other_heads, "holds {'head': ['weight']}: grounding (dense) and visn_model"),
        (half_a_head, "grounding (dense) and visn_model"),
        (lambda folder: torch.save([1], folder / "pytorch_model.bin"), "holds a list"),
        (other_size, "not those of the BertModel that config.json describes"),
        (without_tokenizer, "has no tokenizer"),
    ],
)
def test_unusable_folders_exit_with_2_and_one_message(damage, message, tmp_path, capsys):
    write(tmp_path / "in", "bert", "kdmcse")
    damage(tmp_path / "in")
    assert import_checkpoint.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_a_repository_names_no_code_where_its_base_did(tmp_path):
    write(tmp_path / "in", "bert", "simcse")
    tiny.bring_code(tmp_path / "in")
    assert import_checkpoint.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    for name in ("config.json", "tokenizer_config.json"):
        assert "auto_map" not in (tmp_path / "out" / name).read_text()


def test_a_folder_with_files_is_not_written_into(tmp_path, capsys):
    write(tmp_path / "in", "bert", "simcse")
    assert import_checkpoint.main([str(tmp_path / "in"), str(tmp_path / "in")]) == 2
    assert "is not empty" in capsys.readouterr().err
