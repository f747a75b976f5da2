"""What normalising the teacher's features changes in the released preset, on drawn features with CLIP-like geometry.

    python benchmarks/released_threshold.py

It is not known whether the features of the paper's rows were normalised. The released threshold compares raw dot
products, so it depends on their lengths. The soft labels are cosines and do not; nor do the losses of fresh heads,
whose bias is 0, but for how far their tanh is driven.

The cosines are typical of CLIP: 0.15 between random captions and images, 0.30 between true pairs, 0.5 within a
modality. They and the lengths, 10 for images and 8 for captions, are from memory and unconfirmed: --lengths takes
others. recipes/import_features.py prints the lengths of a real file.
"""

import argparse

import torch

from kdmcse_hf.losses import KDMCSELoss
from kdmcse_hf.model.objectives import ProjectionHead

ROWS, BATCHES, CONTENT = 64, 50, 30  # captions of a batch, batches, dimensions in which the contents differ
THRESHOLDS = (0.8, 70.0)  # SCORE_BASE of the released scripts, and the default of their argument


def unit_vectors(rows: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """(rows, width) random directions."""
    return torch.nn.functional.normalize(torch.randn(rows, width, generator=generator), dim=-1)


def draw_features(rows: int, width: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit features of images and of their captions, (rows, width) each.

    Each is a direction of its modality, content that both share, and noise of its own.
    """
    basis = torch.linalg.qr(torch.randn(width, CONTENT + 2, generator=generator)).Q.T
    first, second = basis[0], 0.3 * basis[0] + (1 - 0.3**2) ** 0.5 * basis[1]  # 0.5 * 0.3 = 0.15 for random pairs
    content = unit_vectors(rows, CONTENT, generator) @ basis[2:]
    features = []
    for direction in (first, second):
        mixed = 0.5**0.5 * direction + 0.15**0.5 * content + 0.35**0.5 * unit_vectors(rows, width, generator)
        features.append(torch.nn.functional.normalize(mixed, dim=-1))
    return features[0], features[1]


def left_out(image: torch.Tensor, text: torch.Tensor, threshold: float) -> float:
    """Share of the negatives of a batch that the released code leaves out of the image loss."""
    negatives = ~torch.eye(len(image), dtype=torch.bool)
    return ((text @ image.T) > threshold)[negatives].float().mean().item()


def measure(image: torch.Tensor, text: torch.Tensor, lengths: tuple[float, float], threshold: float | None) -> dict:
    """One step of fresh heads on one batch: the loss, and the gradient of the image head's weights."""
    torch.manual_seed(0)
    width = image.shape[1]
    heads = [ProjectionHead(width, 256) for _ in range(2)]
    for head in heads:
        torch.nn.init.normal_(head[0].weight, std=0.02)
        torch.nn.init.zeros_(head[0].bias)
    views = torch.randn(2, len(image), 256).tanh()
    image, text = lengths[0] * image, lengths[1] * text
    loss = sum(KDMCSELoss.released(threshold=threshold)(*views, heads[0](image), heads[1](text), image, text).values())
    loss.backward()
    return {
        "loss": loss.item(),
        "gradient": heads[0][0].weight.grad.norm().item(),
        "reach": heads[0][0](image).abs().mean().item(),
    }


def main() -> None:
    """Print one row for each kind of features and threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", nargs=2, type=float, default=(10.0, 8.0), metavar=("IMAGE", "CAPTION"))
    parser.add_argument("--width", type=int, default=768, help="of the features (%(default)s, of ViT-L/14)")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    batches = [draw_features(ROWS, arguments.width, generator) for _ in range(BATCHES)]
    print("| features | threshold | negatives left out | loss | gradient of the image head | input of its tanh |")
    print("|---|---|---:|---:|---:|---:|")
    for name, lengths in (("normalised", (1.0, 1.0)), ("not normalised", tuple(arguments.lengths))):
        for threshold in (None, *THRESHOLDS):
            shares = [left_out(lengths[0] * i, lengths[1] * t, threshold) for i, t in batches] if threshold else [0.0]
            found = [measure(image, text, lengths, threshold) for image, text in batches]
            means = {key: sum(each[key] for each in found) / len(found) for key in found[0]}
            print(
                f"| {name} | {'off' if threshold is None else threshold} | {sum(shares) / len(shares):.2%} | "
                f"{means['loss']:.3f} | {means['gradient']:.4f} | {means['reach']:.3f} |"
            )


if __name__ == "__main__":
    main()
