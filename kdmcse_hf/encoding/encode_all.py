"""Many sentences to vectors, for scores: in batches of equally many tokens, shared out over the processes."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import reduce
from tqdm.auto import tqdm

from .embed import cut_by_tokens
from .kernels import to_device

# Most sentences that a CPU should encode at once: the layers' outputs of more leave its cache.
CPU_SENTENCES = 32


def encode_all(
    embed: Callable[..., torch.Tensor],
    token_ids: Sequence[list[int]],
    pad_token_id: int,
    batch_size: int,
    progress: bool = True,
) -> np.ndarray:
    """Embeddings (n, hidden), float32, of n sentences, in their order.

    Under `torch.distributed` each process encodes its share of the batches, and all get all embeddings. Batches do
    not depend on the number of processes, so neither do the embeddings (but for the last bit: sums round by where the
    weights lie in memory).

    Args:
        embed: called with `input_ids`, `attention_mask` (b, L) on the CPU, padded on the right, and `lengths`, b
            Python numbers; returns (b, hidden).
        token_ids: of each sentence, special tokens included; at least one sentence, the same on all processes.
        pad_token_id: what shorter sentences are padded with.
        batch_size: sentences of mean length that are encoded at once; longer ones make smaller batches.
        progress: whether the main process shows a bar.
    """
    state = PartialState()
    batches = cut_by_tokens([len(ids) for ids in token_ids], math.ceil(len(token_ids) / batch_size))
    rounds = range(0, len(batches), state.num_processes)
    rows: list[int] = []
    parts = []
    hidden = not (progress and state.is_main_process)
    for start in tqdm(rounds, desc="Encoding", unit="batch", delay=2, disable=hidden):
        # A process without a batch of its own repeats the last one: sharded weights need as many calls of each.
        batch = batches[min(start + state.process_index, len(batches) - 1)]
        part = embed(**_pad([token_ids[row] for row in batch], pad_token_id)).float()
        if start + state.process_index < len(batches):
            rows += batch
            parts.append(part)
    embeddings = part.new_zeros(len(token_ids), part.shape[1])
    if parts:
        embeddings[to_device(torch.tensor(rows), part.device)] = torch.cat(parts)
    # Each row is filled on one process only: the sum is the gathered matrix, exactly.
    return reduce(embeddings, "sum").cpu().numpy()


def _pad(sentences: list[list[int]], pad_token_id: int) -> dict:
    lengths = [len(ids) for ids in sentences]
    width = max(*lengths, 1)
    ids = torch.tensor([[*each, *[pad_token_id] * (width - len(each))] for each in sentences])
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "lengths": lengths}
