"""A repository that version 0.1.0 trained, before the objectives became classes, loads with all its heads."""

import json

import pytest
import torch
from paths import ROOT
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf import KDMCSEModel

EARLIER = ROOT / "tests" / "data_files" / "earlier_repository"
RECORDED = json.loads((EARLIER / "recorded.json").read_text(encoding="utf-8"))


def test_its_heads_give_the_recorded_losses():
    model = KDMCSEModel.from_pretrained(str(EARLIER))
    torch.manual_seed(0)
    embeddings, image, text = torch.randn(4, 2, 8), torch.randn(4, 6), torch.randn(4, 6)
    parts = model.compute_losses(embeddings, image, text, torch.tensor([0, 1, 2, 0]))
    assert {name: part.item() for name, part in parts.items()} == pytest.approx(RECORDED["parts"], rel=1e-5)
    assert (model.config.objective, model.config.threshold, model.config.rank_weight) == ("kdmcse_rank", 0.8, 0.5)


def test_its_embeddings_are_the_recorded_ones():
    tokens = AutoTokenizer.from_pretrained(EARLIER)(
        RECORDED["sentences"], padding=True, return_tensors="pt", return_token_type_ids=False
    )
    model = KDMCSEModel.from_pretrained(str(EARLIER))
    torch.testing.assert_close(model.embed(**tokens), torch.tensor(RECORDED["embeddings"]), rtol=1e-5, atol=1e-6)


def test_stock_transformers_load_it_and_it_is_saved_again_with_the_same_heads(tmp_path):
    stock = AutoModel.from_pretrained(EARLIER).state_dict()
    KDMCSEModel.from_pretrained(str(EARLIER)).save_pretrained(str(tmp_path))
    again = AutoModel.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(stock[name], again[name]) for name in stock)
    heads = (EARLIER / "kdmcse_heads.safetensors").read_bytes()
    assert (tmp_path / "kdmcse_heads.safetensors").read_bytes() == heads
