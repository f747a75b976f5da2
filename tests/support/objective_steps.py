"""One step of each objective on a tiny model and a tiny batch, in float64, for comparisons of gradients."""

import tiny
import torch

from kdmcse_hf import KDMCSEModel

ROWS = 8
OBJECTIVES = {
    "simcse": {"objective": "simcse", "simcse_margin": 0.15},
    "arccse": {"objective": "arccse", "margin": 0.1},
    "mcse": {"objective": "mcse"},
    "paper": {"objective": "kdmcse", "threshold": 0.3},
    "released": {"objective": "kdmcse", "preset": "released", "threshold": 1.0},
    "rank": {"objective": "kdmcse_rank", "threshold": 0.3},
    "letter": {"objective": "kdmcse", "threshold": 0.3, "mask_same_image": False, "caption_simcse_weight": 0},
}


def model(name: str, **values) -> KDMCSEModel:
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}
    encoder = tiny.encoder("roberta")  # of two layers
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
