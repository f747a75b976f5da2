"""The wrapper around real architectures, and the repository that it writes and reads."""

import json
import logging
import shutil

import numpy as np
import pytest
import reference
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, T5Config, T5Model
from transformers.utils import logging as transformers_logging

from kdmcse_hf import KDMCSEConfig, KDMCSEModel
from kdmcse_hf.data.batches import SentenceCollator
from kdmcse_hf.encoding import embed
from kdmcse_hf.encoding.embed import embed_sentences
from kdmcse_hf.encoding.pooling import pool
from kdmcse_hf.model.repository import HEADS_NAME

TEACHER = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}
FAMILIES = sorted(tiny.CONFIGS)


def caption_batch(rows: int = 6) -> dict[str, torch.Tensor]:
    batch = SentenceCollator(tiny.tokenizer())([{"text": text} for text in tiny.sentences(rows)])
    generator = torch.Generator().manual_seed(0)
    batch["image_embeds"] = torch.randn(rows, tiny.IMAGE_DIM, generator=generator)
    batch["text_embeds"] = torch.randn(rows, tiny.TEXT_DIM, generator=generator)
    return batch


def make(family: str = "bert", **overrides) -> KDMCSEModel:
    return KDMCSEModel.from_encoder(tiny.encoder(family), **{**TEACHER, **overrides})


@pytest.fixture
def repository(tmp_path):
    model = make(pooling="mean")
    model.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
class TestEveryFamily:
    def test_every_trainable_parameter_learns_and_nothing_else_moves(self, family, pooling):
        model = make(family, pooling=pooling, objective="kdmcse", grounding_weight=1.0).train()
        before = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            model(**caption_batch()).loss.backward()
            optimizer.step()
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert any(name.startswith("encoder.") for name in trainable)
        assert {"simcse_head", "grounding_head", "image_head", "text_head"} <= {n.split(".")[1] for n in trainable}
        # Rows of positions that no sentence reaches do not matter: a tensor counts as learning when any of it moves.
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]) == (name not in trainable), name

    def test_stock_automodel_and_sentence_transformers_give_our_embeddings(self, family, pooling, tmp_path):
        sentence_transformers = pytest.importorskip("sentence_transformers")
        model = make(family, pooling=pooling).eval()
        model.save_pretrained(tmp_path)
        tiny.tokenizer().save_pretrained(tmp_path)
        texts = tiny.sentences(5)
        tokens = AutoTokenizer.from_pretrained(tmp_path)(
            texts, padding=True, return_tensors="pt", return_token_type_ids=False
        )
        with torch.inference_mode():
            ours = model.embed(tokens["input_ids"], tokens["attention_mask"])
            stock = AutoModel.from_pretrained(tmp_path)
            hidden = stock(**tokens).last_hidden_state
        assert type(stock) is type(model.encoder)
        mask = tokens["attention_mask"][:, :, None]
        pooled = hidden[:, 0] if pooling == "cls" else (hidden * mask).sum(1) / mask.sum(1)
        torch.testing.assert_close(ours, pooled)
        encoded = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu").encode(texts)
        torch.testing.assert_close(ours, torch.from_numpy(encoded), rtol=1e-4, atol=1e-5)

    def test_a_round_trip_is_bit_identical(self, family, pooling, tmp_path):
        model = make(family, pooling=pooling)
        model.save_pretrained(tmp_path)
        again = KDMCSEModel.from_pretrained(str(tmp_path))
        assert again.config.pooling == pooling
        assert_identical(model, again)


def assert_identical(first: KDMCSEModel, second: KDMCSEModel) -> None:
    state, other = first.state_dict(), second.state_dict()
    assert state.keys() == other.keys()
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_wrapping_leaves_the_encoder_as_it_was():
    encoder = tiny.encoder()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = KDMCSEModel.from_encoder(encoder, **TEACHER)
    assert all(torch.equal(model.encoder.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("objective", ["simcse", "arccse", "mcse", "kdmcse", "kdmcse_rank"])
@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_loss_is_simcse_plus_the_weighted_grounded_parts(objective, preset):
    model = make(objective=objective, preset=preset, grounding_weight=0.3, rank_weight=0.7).eval()
    output = model(**caption_batch())
    both = ["image_loss", "text_loss"]
    parts = {"mcse": ["image_loss"], "kdmcse": both, "kdmcse_rank": both}.get(objective, [])
    assert [name for name in ("image_loss", "text_loss") if getattr(output, name) is not None] == parts
    total = output.simcse_loss + 0.3 * sum(getattr(output, name) for name in parts)
    assert (output.rank_loss is not None) == (objective == "kdmcse_rank")
    torch.testing.assert_close(output.loss, total + 0.7 * output.rank_loss if output.rank_loss else total)
    text = {name: value for name, value in caption_batch().items() if not name.endswith("embeds")}
    assert model(**text).loss == model(**text).simcse_loss


def test_the_ranking_reaches_the_encoder_past_all_heads():
    """It is a loss of the sentence embeddings, and its gradient comes to no head."""
    model = make(objective="kdmcse_rank", grounding_weight=0, rank_temperature=0.1).eval()
    batch = caption_batch()
    output = model(**batch)
    slow = reference.listnet(*output.sentence_embeddings.double().unbind(1), batch["text_embeds"].double(), 0.1, 0.025)
    assert output.rank_loss.item() == pytest.approx(slow.item(), rel=1e-4)
    output.rank_loss.backward()
    reached = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {"encoder"}


def test_a_ranking_objective_comes_back_with_its_values(tmp_path):
    model = make(objective="kdmcse_rank", rank_weight=0.5, rank_temperature=0.1, rank_teacher_temperature=0.2)
    model.save_pretrained(tmp_path)
    again = KDMCSEModel.from_pretrained(str(tmp_path))
    assert_identical(model, again)
    ranking = again.objective.rank_loss
    assert (again.config.rank_weight, ranking.temperature, ranking.teacher_temperature) == (0.5, 0.1, 0.2)
    batch = caption_batch()
    torch.testing.assert_close(again(**batch).loss, model.eval()(**batch).loss)
    plain = KDMCSEModel.from_pretrained(str(tmp_path), config_overrides={"objective": "kdmcse"})
    assert not hasattr(plain.objective, "rank_loss")


def test_presets_and_single_values():
    paper = KDMCSEConfig()
    assert (paper.margin, paper.threshold, paper.simcse_margin, paper.grounding_weight) == (0.125, 0.85, 0.0, 0.01)
    released = KDMCSEConfig(preset="released")
    assert (released.margin, released.threshold, released.simcse_margin) == (0.15, None, 0.15)
    own = KDMCSEConfig(preset="released", margin=0.0, threshold=0.9)
    assert (own.margin, own.threshold, own.simcse_margin) == (0.0, 0.9, 0.15)
    assert KDMCSEConfig(threshold=None).threshold is None


@pytest.mark.parametrize("slices", [2, 4, 26, 100])
def test_slices_change_neither_embeddings_nor_gradients(slices, monkeypatch):
    """Of an encoder that takes no packed rows."""
    monkeypatch.setattr(embed, "CPU_SLICES", slices)
    encoder = tiny.encoder("mpnet").eval()
    tokens = SentenceCollator(tiny.tokenizer())([{"text": text} for text in tiny.sentences(13)])
    flat = tokens["input_ids"].flatten(0, 1), tokens["attention_mask"].flatten(0, 1)
    results = []
    for sliced in (True, False):
        encoder.zero_grad()
        if sliced:
            embeddings = embed_sentences(encoder, *flat, "mean")
        else:
            embeddings = pool(encoder(*flat).last_hidden_state, flat[1], "mean")
        embeddings.square().sum().backward()
        results.append((embeddings.detach(), encoder.embeddings.word_embeddings.weight.grad.clone()))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-4, atol=1e-5)


class TestRepository:
    def test_stock_automodel_loads_it_without_a_word(self, repository, caplog):
        logger = transformers_logging.get_logger()
        logger.addHandler(caplog.handler)
        try:
            _, report = AutoModel.from_pretrained(repository, output_loading_info=True)
        finally:
            logger.removeHandler(caplog.handler)
        assert not any(report.values()), report
        assert "packed" not in (repository / "config.json").read_text(), "stock transformers has no such attention"
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    def test_it_holds_safetensors_only(self, repository):
        files = {path.name for path in repository.rglob("*") if path.is_file()}
        assert {"model.safetensors", HEADS_NAME, "modules.json", "config.json"} <= files
        assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl", ".pth"))]

    def test_sharded_and_in_bf16(self, repository, tmp_path):
        model = KDMCSEModel.from_pretrained(str(repository), dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
        model.save_pretrained(tmp_path / "sharded", max_shard_size="5KB")
        assert len(list((tmp_path / "sharded").glob("model-*.safetensors"))) > 1
        assert_identical(model, KDMCSEModel.from_pretrained(str(tmp_path / "sharded")))

    def test_a_given_state_dict_is_what_gets_saved(self, tmp_path):
        """As Trainer passes it under FSDP."""
        model = make()
        state = {name: value + 1 for name, value in model.state_dict().items()}
        model.save_pretrained(tmp_path, state_dict=state)
        again = KDMCSEModel.from_pretrained(str(tmp_path)).state_dict()
        assert all(torch.equal(again[name], value) for name, value in state.items())

    def test_lost_heads_are_an_error(self, repository):
        (repository / HEADS_NAME).unlink()
        with pytest.raises(ValueError, match=f"lacks {HEADS_NAME}"):
            KDMCSEModel.from_pretrained(str(repository))

    def test_heads_lost_by_a_stock_round_trip_are_an_error(self, repository, tmp_path):
        AutoModel.from_pretrained(repository).save_pretrained(tmp_path / "stock")
        with pytest.raises(ValueError, match=f"lacks {HEADS_NAME}"):
            KDMCSEModel.from_pretrained(str(tmp_path / "stock"))

    def test_tampered_heads_are_an_error(self, repository):
        heads = load_file(repository / HEADS_NAME)
        heads["simcse_head.0.bias"][0] += 1e-3
        save_file(heads, repository / HEADS_NAME, {"format": "pt"})
        with pytest.raises(ValueError, match="is not the file"):
            KDMCSEModel.from_pretrained(str(repository))

    def test_heads_of_another_model_are_an_error(self, repository, tmp_path):
        make(pooling="mean").save_pretrained(tmp_path / "other")
        torch.manual_seed(1)
        KDMCSEModel.from_encoder(tiny.encoder(seed=5), **TEACHER).save_pretrained(tmp_path / "other")
        shutil.copy(tmp_path / "other" / HEADS_NAME, repository / HEADS_NAME)
        with pytest.raises(ValueError, match="is not the file"):
            KDMCSEModel.from_pretrained(str(repository))

    def test_a_plain_encoder_is_named_as_such(self, tmp_path):
        tiny.encoder().save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="no KDMCSE model.*from_encoder"):
            KDMCSEModel.from_pretrained(str(tmp_path))

    def test_training_goes_on_with_another_objective(self, tmp_path):
        simcse = make(objective="simcse", image_dim=None, text_dim=None)
        simcse.save_pretrained(tmp_path)
        grounded = KDMCSEModel.from_pretrained(str(tmp_path), config_overrides={"objective": "kdmcse", **TEACHER})
        assert torch.equal(grounded.objective.simcse_head[0].weight, simcse.objective.simcse_head[0].weight)
        assert grounded(**caption_batch()).image_loss is not None

    def test_another_teachers_width_does_not_pass_for_the_old_one(self, repository):
        overrides = {"image_dim": tiny.IMAGE_DIM + 1, "text_dim": tiny.IMAGE_DIM + 1}
        with pytest.raises(ValueError, match="image_head.0.weight"):
            KDMCSEModel.from_pretrained(str(repository), config_overrides=overrides)

    def test_a_preset_given_later_brings_its_values(self, repository):
        model = KDMCSEModel.from_pretrained(str(repository), config_overrides={"preset": "released"})
        assert (model.config.margin, model.config.threshold) == (0.15, None)

    def test_the_configuration_alone(self, repository, tmp_path):
        config = KDMCSEConfig.from_pretrained(str(repository))
        assert (config.pooling, config.encoder.model_type) == ("mean", "bert")
        config.save_pretrained(tmp_path / "config")
        stored = json.loads((tmp_path / "config" / "config.json").read_text())
        assert stored["model_type"] == "bert"
        assert stored["kdmcse"]["margin"] == 0.125


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"objective": "mcse", "image_dim": None}, "'mcse' needs image_dim"),
        ({"text_dim": None}, "'kdmcse' needs text_dim"),
        ({"text_dim": 9}, "image_dim is 6 and text_dim 9"),
        ({"objective": "kdmcse_rank", "text_dim": None}, "'kdmcse_rank' needs text_dim"),
    ],
)
def test_widths_that_the_objective_cannot_use_are_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        make(**overrides)


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="rank_weight is -1"):
        make(objective="kdmcse_rank", rank_weight=-1)


def test_an_encoder_decoder_is_refused():
    t5 = T5Model(T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(ValueError, match="T5Model is no plain text encoder"):
        KDMCSEModel.from_encoder(t5, objective="simcse")


def test_gradient_checkpointing_gives_the_same_gradients():
    model = make().eval()
    batch = caption_batch()
    model(**batch).loss.backward()
    plain = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model(**batch).loss.backward()
    for name, gradient in plain.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, gradient, rtol=1e-4, atol=1e-6)


def test_the_released_heads(shared):
    """Both views' [CLS] and teacher features through the recorded heads give the recorded losses and gradients."""
    data = np.load(shared / "golden" / "heads_b8.npz")
    arrays = {name: torch.from_numpy(data[name]).double() for name in data.files}
    embeddings = arrays["in_cls"].requires_grad_()  # (8, 2, H)
    config = tiny.CONFIGS["bert"].__class__(hidden_size=embeddings.shape[-1], num_attention_heads=1)
    widths = {"image_dim": arrays["in_img"].shape[1], "text_dim": arrays["in_txt"].shape[1]}
    widths["projection_dim"] = arrays["in_w_vmlp"].shape[0]
    model = KDMCSEModel(KDMCSEConfig(encoder=config, preset="released", **widths)).double()
    heads = {"simcse_head": "pooler", "grounding_head": "grounding", "image_head": "vmlp", "text_head": "tmlp"}
    for ours, theirs in heads.items():
        state = {"0.weight": arrays[f"in_w_{theirs}"], "0.bias": arrays[f"in_b_{theirs}"]}
        getattr(model.objective, ours).load_state_dict(state)
    parts = model.compute_losses(embeddings, arrays["in_img"], arrays["in_txt"])
    torch.testing.assert_close(parts["simcse_loss"], arrays["loss_intra"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(parts["image_loss"] + parts["text_loss"], arrays["loss_inter"], rtol=1e-6, atol=0)
    parts["loss"].backward()
    torch.testing.assert_close(embeddings.grad, arrays["grad_total_cls"], rtol=1e-4, atol=1e-9)
    for ours, theirs in heads.items():
        gradient = getattr(model.objective, ours)[0].weight.grad
        torch.testing.assert_close(gradient, arrays[f"grad_total_w_{theirs}"], rtol=1e-4, atol=1e-9)
