"""Objectives: names and values follow from the class; one of the user's own needs nothing else."""

import pytest
import tiny
import torch

from kdmcse_hf import KDMCSEConfig, KDMCSEModel
from kdmcse_hf.model.objectives import OBJECTIVES, KDMCSERank, SimCSE, all_values, load_objective
from kdmcse_hf.model.values import ThresholdValue, Value


class Uniform(SimCSE):
    """SimCSE with a term that every step has."""

    label = "SimCSE+spread"
    citation = "@misc{spread}"
    values = SimCSE.values | {"spread_weight": Value(0.5, "Weight of the spread.", least=0)}

    def forward(self, embeddings, teacher=None):
        parts = super().forward(embeddings, teacher)
        spread = embeddings.mean(dim=(0, 1)).square().sum()
        return {**parts, "spread_loss": spread, "loss": parts["loss"] + self.config.spread_weight * spread}


@pytest.fixture(autouse=True)
def known_objectives():
    """Those that a test loads are forgotten after it."""
    before = dict(OBJECTIVES)
    yield
    OBJECTIVES.clear()
    OBJECTIVES.update(before)


def test_a_class_of_ones_own_is_given_itself_and_comes_back(tmp_path):
    model = KDMCSEModel.from_encoder(tiny.encoder(), objective=Uniform, spread_weight=2.0)
    model.save_pretrained(tmp_path)
    again = KDMCSEModel.from_pretrained(str(tmp_path), config_overrides={"objective": Uniform})
    assert type(again.objective) is Uniform
    assert again.config.spread_weight == 2.0
    embeddings = torch.randn(4, 2, 16)
    parts = again.compute_losses(embeddings)
    torch.testing.assert_close(parts["loss"], parts["simcse_loss"] + 2 * parts["spread_loss"])


def test_its_parts_are_in_the_output():
    model = KDMCSEModel.from_encoder(tiny.encoder(), objective=Uniform).eval()
    tokens = torch.full((3, 2, 5), 7)
    output = model(tokens, torch.ones_like(tokens))
    assert output.spread_loss is output["spread_loss"]
    assert set(output) == {"loss", "sentence_embeddings", "simcse_loss", "spread_loss"}


def test_a_repository_that_names_code_does_not_run_it(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('was run')")
    model = KDMCSEModel.from_encoder(tiny.encoder(), objective="simcse")
    model.config.objective = f"{tmp_path}/evil.py:Evil"
    model.save_pretrained(tmp_path / "repository")
    with pytest.raises(ValueError, match="imported where you name it yourself"):
        KDMCSEModel.from_pretrained(str(tmp_path / "repository"))


def test_a_file_is_named_without_its_folder(tmp_path):
    (tmp_path / "mine.py").write_text("from kdmcse_hf.model.objectives import MCSE\n\n\nclass Mine(MCSE):\n    pass\n")
    assert load_objective(f"{tmp_path}/mine.py:Mine") == "mine.py:Mine"
    assert KDMCSEConfig(objective="mine.py:Mine").objective == "mine.py:Mine"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("simce", "one of simcse, arccse"),
        ("nowhere:Mine", "cannot be imported"),
        ("nowhere.py:Mine", "there is no file nowhere.py"),
        ("json:JSONDecoder", "no subclass of kdmcse_hf.Objective"),
        ("json:Nothing", "no subclass of kdmcse_hf.Objective"),
    ],
)
def test_what_is_no_objective_is_refused(source, message):
    with pytest.raises(ValueError, match=message):
        load_objective(source)


def test_a_class_given_under_its_own_name_keeps_the_short_one():
    assert load_objective(KDMCSERank) == "kdmcse_rank"


def test_citations_are_those_of_the_class_and_its_bases_each_once():
    assert [entry.partition("{")[2].partition(",")[0] for entry in KDMCSERank.citations()] == [
        "liu2023rankcse",
        "nguyen2024kdmcse",
        "zhang2022mcse",
        "gao2021simcse",
    ]
    assert Uniform.citations()[0] == "@misc{spread}"


def test_every_default_is_allowed():
    for name, value in all_values().items():
        value.check(name, value.default)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (Value(0.05, "", above=0), 0),
        (Value(0.05, "", above=0), float("nan")),
        (Value(0.05, "", above=0), float("inf")),
        (Value(0.05, "", above=0), True),
        (Value(0.05, "", above=0), None),
        (Value(0.05, "", above=0), "0.1"),
        (Value(256, "", type=int, least=1), 0.5),
        (Value(256, "", type=int, least=1), 0),
        (Value(None, "", least=0, below=1), 1),
        (Value(False, "", type=bool), 1),
        (Value("a", "", type=str, choices=("a", "b")), "c"),
        (ThresholdValue(None, ""), [0.5]),
        (ThresholdValue(None, ""), [0.5, float("nan")]),
        (ThresholdValue(None, ""), "q0.9"),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_is_allowed(value, found):
    with pytest.raises(ValueError, match="thing is .*needed|thing is .*one for the image loss"):
        value.check("thing", found)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (Value(0.05, "", above=0), 1),
        (Value(None, "", least=0), None),
        (Value(False, "", type=bool), True),
        (Value("a", "", type=str, choices=("a", "b")), "b"),
        (ThresholdValue(None, ""), (None, 0.9)),
        (ThresholdValue(None, ""), 0.9),
        (ThresholdValue(None, ""), None),
    ],
)
def test_a_value_in_range_is_taken(value, found):
    value.check("thing", found)


def test_a_misspelt_field_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="grounding_wieght is no field.*: did you mean grounding_weight"):
        KDMCSEModel.from_encoder(tiny.encoder(), objective="simcse", grounding_wieght=1)
