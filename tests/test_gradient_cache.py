"""Gradient caching (`mini_batch_size`): the plain step's gradients, with one mini-batch's activations at a time."""

import pytest
import tiny
import torch

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.encoding.slices import encode_in_slices

ROWS = 8
OBJECTIVES = {
    "simcse": {"objective": "simcse", "simcse_margin": 0.15},
    "arccse": {"objective": "arccse", "margin": 0.1},
    "mcse": {"objective": "mcse"},
    "paper": {"objective": "kdmcse", "threshold": 0.3},
    "released": {"objective": "kdmcse", "preset": "released", "threshold": 1.0},
    "rank": {"objective": "kdmcse_rank", "threshold": 0.3},
}


def model(name: str, **values) -> KDMCSEModel:
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}
    encoder = tiny.encoder()
    return KDMCSEModel.from_encoder(encoder, **widths, grounding_weight=1.0, **OBJECTIVES[name], **values).double()


def batch(rows: slice = slice(None)) -> dict[str, torch.Tensor]:
    tokens = tiny.tokenizer()(tiny.sentences(ROWS), padding=True, return_tensors="pt", return_token_type_ids=False)
    views = {name: ids[:, None].expand(-1, 2, -1) for name, ids in tokens.items()}
    columns = tiny.captions(ROWS).with_format("torch")
    features = {name: columns[name][:].double() for name in ("image_embeds", "text_embeds")}
    whole = {**views, **features, "image_ids": torch.tensor([0, 1, 2, 3, 0, 5, 6, 1])}
    return {name: tensor[rows] for name, tensor in whole.items()}


def gradients(trained: KDMCSEModel, mini_batch_size: int | None) -> dict[str, torch.Tensor]:
    trained.zero_grad()
    loss = trained(**batch(), mini_batch_size=mini_batch_size).loss
    loss.backward()
    return {"loss": loss.detach()} | {n: p.grad.clone() for n, p in trained.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("mini_batch_size", [1, 3, ROWS, 100])
def test_it_is_the_plain_step(name, mini_batch_size):
    trained = model(name).eval()  # dropout off
    plain, cached = gradients(trained, None), gradients(trained, mini_batch_size)
    assert plain.keys() == cached.keys()
    for part, value in plain.items():
        torch.testing.assert_close(cached[part], value, rtol=1e-9, atol=1e-12, msg=lambda m, part=part: f"{part}: {m}")


def test_dropout_is_replayed(monkeypatch):
    """Against the same four slices with all activations kept: the same masks, so the same gradients."""
    trained = model("paper").train()
    torch.manual_seed(1)
    cached = gradients(trained, ROWS // 4)
    monkeypatch.setattr(trained, "embed", lambda ids, mask, _: encode_in_slices(trained._embed_padded, ids, mask, 4))
    torch.manual_seed(1)
    kept = gradients(trained, ROWS // 4)
    for part, value in kept.items():
        torch.testing.assert_close(cached[part], value, rtol=1e-9, atol=1e-12)
    torch.manual_seed(2)
    assert not torch.allclose(gradients(trained, ROWS // 4)["loss"], kept["loss"]), "dropout is on"


def test_activations_of_one_mini_batch_are_kept():
    trained, kept = model("paper").train(), {}
    for size in (None, 1):
        total = 0

        def count(tensor):
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            trained(**batch(), mini_batch_size=size)
        kept[size] = total
    assert kept[1] < kept[None] / 2
