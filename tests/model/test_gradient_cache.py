"""Gradient caching (`mini_batch_size`): the plain step's gradients, with one mini-batch's activations at a time."""

import pytest
import torch
from activations import count_kept
from objective_steps import OBJECTIVES, ROWS, batch, gradients, model


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("mini_batch_size", [1, 3, ROWS, 100])
def test_it_is_the_plain_step(name, mini_batch_size):
    trained = model(name).eval()  # dropout off
    plain, cached = gradients(trained, None), gradients(trained, mini_batch_size)
    assert plain.keys() == cached.keys()
    for part, value in plain.items():
        torch.testing.assert_close(cached[part], value, rtol=1e-9, atol=1e-12, msg=lambda m, part=part: f"{part}: {m}")


def test_dropout_is_replayed(monkeypatch):
    """Against the same parts with all activations kept: the same masks, so the same gradients."""
    trained = model("paper").train()
    torch.manual_seed(1)
    cached = gradients(trained, ROWS // 4)
    monkeypatch.setattr("kdmcse_hf.encoding.embed.checkpoint", lambda encode, *args, **_: encode(*args))
    torch.manual_seed(1)
    kept = gradients(trained, ROWS // 4)
    for part, value in kept.items():
        torch.testing.assert_close(cached[part], value, rtol=1e-9, atol=1e-12)
    torch.manual_seed(2)
    assert not torch.allclose(gradients(trained, ROWS // 4)["loss"], kept["loss"]), "dropout is on"


def test_activations_of_one_mini_batch_are_kept():
    trained, tokens = model("paper").train(), batch()
    inputs = [tokens[name].flatten(0, 1) for name in ("input_ids", "attention_mask")]
    kept = {size: count_kept(lambda size=size: trained.embed(*inputs, size)) for size in (None, 1)}
    assert kept[1] < kept[None] / 2
