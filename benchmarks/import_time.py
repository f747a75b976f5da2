"""What it costs to import the package, over importing the libraries it stands on.

    python benchmarks/import_time.py [--rounds 7]

Every import is a process of its own, the sides in turn, after one round that is not counted (it fills the disk's cache
and writes bytecode). Printed are the medians of elapsed and of processor time over those of the reference; on a busy
machine the processor time is the steadier one.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

LIBRARIES = "import torch, transformers"
SIDES = {
    LIBRARIES: LIBRARIES,
    "import kdmcse_hf": LIBRARIES,
    "import torch, transformers, kdmcse_hf": LIBRARIES,
    "from kdmcse_hf import KDMCSEModel, losses": "from transformers import PreTrainedModel",
    "from kdmcse_hf import KDMCSETrainer": "from transformers import Trainer",
    "from transformers import PreTrainedModel": LIBRARIES,
    "from transformers import Trainer": LIBRARIES,
}


def seconds(code: str) -> tuple[float, float]:
    """Elapsed and processor seconds of a process that runs `code`."""
    start, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - start, used


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    samples: dict[str, list[tuple[float, float]]] = {code: [] for code in SIDES}
    for _ in range(rounds + 1):
        for code, taken in samples.items():
            taken.append(seconds(code))
    medians = {}
    for code, taken in samples.items():
        medians[code] = [statistics.median(each) for each in zip(*taken[1:], strict=True)]
    print(f"{'':44}{'elapsed':>9}{'processor':>11}   over")
    for code, reference in SIDES.items():
        elapsed, used = (ours / theirs for ours, theirs in zip(medians[code], medians[reference], strict=True))
        print(f"{code:44}{elapsed:9.2f}{used:11.2f}   {reference}")
    print(f"seconds of {LIBRARIES!r}: {medians[LIBRARIES][0]:.2f}, {medians[LIBRARIES][1]:.2f}")


if __name__ == "__main__":
    main()
