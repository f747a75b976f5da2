"""`mask_same_image` and `caption_simcse_weight`: the paper to the letter, held against slow loops."""

import pytest
import reference
import tiny
import torch

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.commands.train_arguments import parse

ROWS, WIDTH = 6, 16
IMAGE_IDS = torch.tensor([0, 1, 0, 3, 1, 0])
TEMPERATURE, MARGIN, SIMCSE_MARGIN, WEIGHT = 0.2, 0.3, 0.1, 0.7
OBJECTIVES = {
    "simcse": {"objective": "simcse"},
    "arccse": {"objective": "arccse"},
    "mcse": {"objective": "mcse"},
    "paper": {"objective": "kdmcse", "threshold": 0.3},
    "released": {"objective": "kdmcse", "preset": "released", "threshold": 1.0},
}
GROUNDED = [name for name in OBJECTIVES if name not in ("simcse", "arccse")]


def model(name: str, **values) -> KDMCSEModel:
    """A tiny model in float64 whose heads are large enough for the temperatures and margins to matter."""
    settings = {
        "simcse_temperature": TEMPERATURE,
        "grounding_temperature": TEMPERATURE,
        "margin": MARGIN,
        "simcse_margin": SIMCSE_MARGIN,
        "grounding_weight": WEIGHT,
        "projection_dim": 5,
        "image_dim": tiny.IMAGE_DIM,
        "text_dim": tiny.TEXT_DIM,
    }
    made = KDMCSEModel.from_encoder(tiny.encoder(), **settings, **OBJECTIVES[name], **values).double()
    torch.manual_seed(0)
    for parameter in made.objective.parameters():
        parameter.data.normal_(std=0.5)
    return made


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    """Embeddings of captions and what the teacher has of them."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    images = draw(ROWS, tiny.IMAGE_DIM)
    return {
        "embeddings": draw(ROWS, 2, WIDTH).requires_grad_(),
        "image_embeds": images[IMAGE_IDS],
        "text_embeds": images[IMAGE_IDS] + 0.7 * draw(ROWS, tiny.TEXT_DIM),
        "image_ids": IMAGE_IDS,
    }


def slow_simcse(made: KDMCSEModel, x: dict) -> torch.Tensor:
    """Eq. 1 or 10 over all captions of the batch, whatever their images."""
    z1, z2 = made.objective.simcse_head(x["embeddings"]).unbind(dim=1)
    if made.config.objective == "arccse":
        return reference.arccse(z1, z2, TEMPERATURE, MARGIN)
    return reference.simcse(z1, z2, TEMPERATURE, SIMCSE_MARGIN)


def slow_grounded(made: KDMCSEModel, x: dict) -> torch.Tensor:
    """Eq. 3 or 14 over all captions of the batch, whatever their images."""
    heads, config = made.objective, made.config
    s1, s2 = heads.grounding_head(x["embeddings"]).unbind(dim=1)
    image = heads.image_head(x["image_embeds"])
    if config.objective == "mcse":
        return reference.mcse(s1, s2, image, TEMPERATURE)
    slow = reference.kdmcse_paper if config.preset == "paper" else reference.kdmcse_released
    text, teacher = heads.text_head(x["text_embeds"]), (x["image_embeds"], x["text_embeds"])
    return slow(s1, s2, image, text, *teacher, TEMPERATURE, MARGIN, config.threshold)


def gradients(loss: torch.Tensor, made: KDMCSEModel, x: dict) -> dict[str, torch.Tensor | None]:
    """Of the embeddings and of every weight of the heads; None where a weight took no part."""
    named = {"embeddings": x["embeddings"], **dict(made.objective.named_parameters())}
    found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
    return dict(zip(named, found, strict=True))


def assert_same(ours: torch.Tensor, slow: torch.Tensor, made: KDMCSEModel, x: dict) -> None:
    torch.testing.assert_close(ours, slow, rtol=1e-9, atol=1e-12)
    expected = gradients(slow, made, x)
    for name, gradient in gradients(ours, made, x).items():
        assert (gradient is None) == (expected[name] is None), name
        if gradient is not None:
            torch.testing.assert_close(gradient, expected[name], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("seed", range(2))
class TestCaptionsOfOneImage:
    def test_they_are_negatives_of_each_other_where_the_letter_is_wanted(self, name, seed):
        made, x = model(name, mask_same_image=False), batch(seed)
        slow = slow_simcse(made, x)
        if name in GROUNDED:
            slow = slow + WEIGHT * slow_grounded(made, x)
        assert_same(made.compute_losses(**x)["loss"], slow, made, x)

    def test_they_are_none_by_default(self, name, seed):
        """Fewer negatives, a smaller loss; where every caption has an image of its own the switch does nothing."""
        x = batch(seed)
        masked, letter = model(name), model(name, mask_same_image=False)
        assert masked.compute_losses(**x)["loss"] < letter.compute_losses(**x)["loss"]
        x["image_ids"] = torch.arange(ROWS)
        assert torch.equal(masked.compute_losses(**x)["loss"], letter.compute_losses(**x)["loss"])


@pytest.mark.parametrize("name", GROUNDED)
class TestSimCSEOnCaptionSteps:
    @pytest.mark.parametrize("weight", [0.25, 1.0, 3.0])
    def test_it_has_its_weight(self, name, weight):
        made, x = model(name, mask_same_image=False, caption_simcse_weight=weight), batch()
        slow = weight * slow_simcse(made, x) + WEIGHT * slow_grounded(made, x)
        assert_same(made.compute_losses(**x)["loss"], slow, made, x)

    def test_without_it_the_grounded_loss_stands_alone(self, name):
        """Algorithm 1 as printed. SimCSE's head has no gradient then, as in the loop that does not know it."""
        made, x = model(name, mask_same_image=False, caption_simcse_weight=0), batch()
        parts = made.compute_losses(**x)
        assert_same(parts["loss"], WEIGHT * slow_grounded(made, x), made, x)
        assert gradients(parts["loss"], made, x)["simcse_head.0.weight"] is None
        assert "simcse_loss" not in parts

    def test_text_steps_keep_it(self, name):
        made, x = model(name, caption_simcse_weight=0), batch()
        assert_same(made.compute_losses(x["embeddings"])["loss"], slow_simcse(made, x), made, x)

    def test_the_default_is_the_plain_sum_to_the_bit(self, name):
        made, x = model(name), batch()
        parts = made.compute_losses(**x)
        grounded = sum(value for part, value in parts.items() if part in ("image_loss", "text_loss"))
        assert torch.equal(parts["loss"], parts["simcse_loss"] + WEIGHT * grounded)


def test_a_repository_keeps_the_switches(tmp_path):
    model("paper", mask_same_image=False, caption_simcse_weight=0).save_pretrained(str(tmp_path))
    config = KDMCSEModel.from_pretrained(str(tmp_path)).config
    assert (config.mask_same_image, config.caption_simcse_weight) == (False, 0)


def test_they_are_keys_of_the_training_command():
    words = ["--model_name_or_path", "encoder", "--mask_same_image", "false", "--caption_simcse_weight", "0"]
    arguments, _, _ = parse([*words, "--output_dir", "unused", "--use_cpu", "true"])
    assert (arguments.mask_same_image, arguments.caption_simcse_weight) == (False, 0)
    arguments, _, _ = parse(["--model_name_or_path", "encoder", "--output_dir", "unused", "--use_cpu", "true"])
    assert (arguments.mask_same_image, arguments.caption_simcse_weight) == (True, 1)
