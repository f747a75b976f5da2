"""What training costs on a GPU: one command, no data but its own, and first of all whether the numbers are right.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --encoder tiny-shape --batch_size 8 --steps 7 --warm_up 7 --backend aot_eager

An encoder with random weights (BERT-base's shape) trains by KDMCSETrainer on made sentences as long as those of Wiki1M
and of Flickr30k's captions, one step in seven on captions, as in the paper's run. Checked first: losses and gradients
against the padded encoder on the CPU, the kernels of attention and their dropout; a fault ends the command with status
1. Then each row trains anew, in float32, with TF32 where the GPU has it, and under bfloat16 autocast. At the end comes
a Markdown table for docs/gpu.md.
"""

import argparse
import contextlib
import gc
import itertools
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import torch
import transformers
from gpu_checks import check_device
from gpu_setting import (
    PAPER_EVALUATIONS,
    PAPER_STEPS,
    PERIOD,
    SHAPES,
    STSB_PAIRS,
    layer_weights,
    make_captions,
    make_config,
    make_model,
    make_pairs,
    make_text,
    make_tokenizer,
)
from transformers import PrinterCallback, TrainerCallback
from transformers.utils.import_utils import enable_tf32, is_torch_tf32_available

from kdmcse_hf import KDMCSETrainer, KDMCSETrainingArguments
from kdmcse_hf.encoding.sentence_encoder import tokenize
from kdmcse_hf.encoding.support import packing_support

# Dense peaks in TFLOP/s by NVIDIA's data sheets; the first name that is part of the card's counts.
PEAKS = {
    "H100 PCIe": {"float32": 51, "TF32": 378, "bfloat16": 756},
    "H100 NVL": {"float32": 60, "TF32": 418, "bfloat16": 835},
    "H100": {"float32": 67, "TF32": 495, "bfloat16": 989},
    "H200": {"float32": 67, "TF32": 495, "bfloat16": 989},
    "A100": {"float32": 19.5, "TF32": 156, "bfloat16": 312},
    "RTX A6000": {"float32": 38.7, "TF32": 77.4, "bfloat16": 154.8},
}
WAYS = ("padded", "packed", "packed + compile")
HEADER = (
    "| precision | row | sentences went through the encoder | ms a step | tokens/s | share of the peak | memory, GiB "
    "| evaluation, s | the paper's run, min |\n|---|---|---|---:|---:|---:|---:|---:|---:|"
)


@dataclass(frozen=True)
class Figures:
    """What one row measured.

    Args:
        went: how the training steps gave sentences to the encoder, in words.
        step, evaluation: seconds.
        tokens: of a step, without padding.
        share: of the card's peak, of the operations of these tokens; None where the peak is not known.
        memory: GiB at the peak of training; None on a CPU.
    """

    went: str
    step: float
    evaluation: float
    tokens: float
    share: float | None
    memory: float | None

    def line(self, precision: str, way: str) -> str:
        """As a row of the table."""
        run = (PAPER_STEPS * self.step + PAPER_EVALUATIONS * self.evaluation) / 60
        cells = [precision, way, self.went, f"{1000 * self.step:.2f}", f"{self.tokens / self.step:,.0f}"]
        cells += [
            "" if self.share is None else f"{self.share:.1%}",
            "" if self.memory is None else f"{self.memory:.2f}",
        ]
        return f"| {' | '.join([*cells, f'{self.evaluation:.3f}', f'{run:.1f}'])} |"


class Clock(TrainerCallback):
    """When the timed steps begin and end, each time with an evaluation; the device is waited for at these alone."""

    def __init__(self, first: int, last: int, device: torch.device):
        self.ends, self.device = (first, last), device
        self.stepped, self.evaluated = [], []

    def on_step_end(self, args, state, control, **kwargs):
        """After the optimizer's step."""
        if state.global_step in self.ends:
            self.stepped.append(now(self.device))
            control.should_evaluate = True

    def on_evaluate(self, args, state, control, **kwargs):
        """After the scores."""
        self.evaluated.append(now(self.device))


def now(device: torch.device) -> float:
    """Seconds of the clock when the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def make_trainer(arguments: argparse.Namespace, precision: str, way: str, folder: str) -> KDMCSETrainer:
    """A run of a row, as the shipped configurations have it, without what is written and scored on the way."""
    if is_torch_tf32_available():
        enable_tf32.__wrapped__(precision != "float32")  # it remembers what it was called with, and does nothing twice
    compiled = {}
    if way.endswith("compile"):
        compiled = {"torch_compile_backend": arguments.backend, "torch_compile_mode": arguments.mode}
    args = KDMCSETrainingArguments(
        output_dir=folder,
        max_steps=arguments.warm_up + arguments.steps,
        per_device_train_batch_size=arguments.batch_size,
        multimodal_period=str(PERIOD),
        learning_rate=3e-5,
        bf16=precision == "bfloat16",
        tf32=(precision != "float32") if is_torch_tf32_available() else None,
        dataloader_num_workers=2,
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=arguments.device.type == "cpu",
        **compiled,
    )
    config, rows = make_config(arguments.encoder), args.max_steps * arguments.batch_size
    tokenizer = make_tokenizer(config)
    trainer = KDMCSETrainer(
        model=make_model(config, packed=way != "padded"),
        args=args,
        text_dataset=make_text(rows, tokenizer),
        multimodal_dataset=make_captions(max(rows // PERIOD, arguments.batch_size), tokenizer),
        eval_dataset=make_pairs(STSB_PAIRS, tokenizer),
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def measure(arguments: argparse.Namespace, precision: str, way: str, folder: str) -> Figures:
    """Train and evaluate one row."""
    trainer, device = make_trainer(arguments, precision, way, folder), arguments.device
    clock, ways = Clock(arguments.warm_up, arguments.warm_up + arguments.steps, device), set()
    trainer.add_callback(clock)

    def remember(encoder, inputs, options) -> None:
        if encoder.training:
            ways.add("packed" in options)

    hook = trainer.model.encoder.register_forward_pre_hook(remember, with_kwargs=True)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    hook.remove()
    # The first evaluation, before the timed steps, loads what the second needs.
    step, evaluation = (clock.stepped[1] - clock.evaluated[0]) / arguments.steps, clock.evaluated[1] - clock.stepped[1]
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    tokens = mean_tokens(trainer, arguments)
    share = None
    if (peak := card_peak(device, precision)) is not None:
        share = 6 * layer_weights(trainer.model) * tokens / step / peak
    return Figures(describe(trainer, ways), step, evaluation, tokens, share, memory)


def describe(trainer: KDMCSETrainer, ways: set[bool]) -> str:
    """How the training steps gave sentences to the encoder."""
    if ways == {True}:
        return trainer.run_summary().attention
    words = "padded" if ways == {False} else "partly padded"
    return ": ".join(filter(None, (words, packing_support(trainer.model.encoder).reason)))


def mean_tokens(trainer: KDMCSETrainer, arguments: argparse.Namespace) -> float:
    """Tokens of a timed step without padding, both views."""
    sampler = trainer.train_sampler()
    steps = range(arguments.warm_up, arguments.warm_up + arguments.steps)
    rows = [row for index in steps for row in trainer.train_dataset.__getitems__(sampler.batch(index))]
    tokens = tokenize(trainer.processing_class, [row["text"] for row in rows], trainer.data_collator.max_length)
    return 2 * sum(map(len, tokens)) / len(steps)


def card_peak(device: torch.device, precision: str) -> float | None:
    """Operations a second that the card's data sheet promises; None where it is not known."""
    card = torch.cuda.get_device_name() if device.type == "cuda" else ""
    found = next((peaks for name, peaks in PEAKS.items() if name in card), None)
    return found and 1e12 * found[precision]


def describe_device(device: torch.device) -> str:
    """The card, its driver, and the versions of what computes."""
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    if device.type == "cpu":
        return f"CPU with {torch.get_num_threads()} thread(s), {versions}: how it runs, not how fast a GPU is"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError):  # a container may lack it
        driver = "unknown"
    return f"{torch.cuda.get_device_name()}, driver {driver}, CUDA {torch.version.cuda}, {versions}"


def print_rows(arguments: argparse.Namespace) -> int:
    """Measure all rows, then print the table; returns how many failed."""
    precisions = ["float32", *["TF32"] * is_torch_tf32_available(), "bfloat16"]
    lines, failed = [], 0
    for precision, way in itertools.product(precisions, WAYS):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            try:
                lines.append(measure(arguments, precision, way, folder).line(precision, way))
            except Exception as error:  # out of memory, a compiler that is not there: the other rows still count
                failed += 1
                reason = " ".join(str(error).split())[:120]
                lines.append(f"| {precision} | {way} | failed: {type(error).__name__}: {reason} | | | | | | |")
        print(lines[-1], file=sys.stderr, flush=True)
        torch._dynamo.reset()
        gc.collect()
        torch.cuda.empty_cache()
    print(
        f"\n{describe_device(arguments.device)}. {arguments.encoder}, {arguments.batch_size} rows in two views, ",
        end="",
    )
    print(
        f"{arguments.steps} steps after {arguments.warm_up}; the paper's run is {PAPER_STEPS:,} such steps and ",
        end="",
    )
    print(f"{PAPER_EVALUATIONS} evaluations, without start and writing.\n\n{HEADER}")
    print("\n".join(lines))
    return failed


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--device", choices=("cuda", "cpu"), default="cuda", help="(%(default)s)")
    shapes = f"{', '.join(SHAPES)}, or a directory or Hub id whose configuration is taken (%(default)s)"
    add("--encoder", default="bert-base", help=shapes)
    add("--batch_size", type=int, default=64, help="sentences of a step (%(default)s)")
    add("--steps", type=int, default=210, help="that are timed (%(default)s)")
    add("--warm_up", type=int, default=42, help="steps before them (%(default)s)")
    add("--backend", default="inductor", help="of torch.compile (%(default)s)")
    add("--mode", help="of torch.compile; reduce-overhead replays CUDA graphs")
    arguments = parser.parse_args()
    arguments.device = torch.device(arguments.device)
    if arguments.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU: --device cpu --encoder tiny-shape shows how the command runs")
    return arguments


def main() -> int:
    """Check, measure, print; returns 1 where a number is wrong or a row failed."""
    arguments = parse_arguments()
    transformers.logging.set_verbosity_error()
    print("Checks:")
    if faults := check_device(arguments.encoder, arguments.device):
        print("WRONG:", *faults, sep="\n  ")
        return 1
    return int(print_rows(arguments) > 0)


if __name__ == "__main__":
    sys.exit(main())
