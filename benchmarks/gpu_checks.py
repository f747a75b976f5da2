"""Whether a device computes what it should: losses and gradients against the CPU, and the kernels of attention."""

import contextlib
import math

import torch
from gpu_setting import make_captions, make_config, make_model, make_text, make_tokenizer
from transformers.utils import is_flash_attn_2_available

from kdmcse_hf import KDMCSEModel
from kdmcse_hf.data.batches import MixedRows, SentenceCollator
from kdmcse_hf.encoding.kernels import Kernel, Spans, find_fault, flash_varlen, kernel_for, sdpa_by_length, sdpa_jagged
from kdmcse_hf.encoding.slots import Slots, sdpa_in_slots, slots_of

ROWS = 16
RATE = 0.1  # BERT's dropout
TOKENS, SENTENCES, HEADS = 32, 64, 12
# Largest relative differences that rounding explains: of a loss, and of the gradient of a weight.
LIMITS = {torch.float32: (1e-4, 1e-3), torch.bfloat16: (0.02, 0.3)}


def check_device(encoder: str, device: torch.device) -> list[str]:
    """Print all checks on a device; returns what is wrong."""
    faults = check_kernels(device)
    config = make_config(encoder)
    tokenizer = make_tokenizer(config)
    rows = MixedRows(make_text(ROWS, tokenizer), make_captions(ROWS, tokenizer))
    # In slots rows are packed under torch.compile.
    sides = [("padded", torch.float32)]
    sides += [(name, dtype) for name in ("packed", "packed in slots") for dtype in (torch.float32, torch.bfloat16)]
    for kind, first in (("text", 0), ("captions", ROWS)):
        chosen = rows.__getitems__(list(range(first, first + ROWS)))
        reference = losses_and_gradients(make_model(config, False), SentenceCollator(tokenizer)(chosen), torch.float32)
        for name, dtype in sides:
            batch = SentenceCollator(tokenizer, static=name == "packed in slots")(chosen)
            model = make_model(config, packed=name != "padded").to(device)
            found = losses_and_gradients(model, to_device(batch, device), dtype)
            title = f"{name}, {str(dtype).removeprefix('torch.')}, {kind}"
            faults += compare(title, found, reference, LIMITS[dtype])
    return faults


def to_device(batch: dict, device: torch.device) -> dict:
    """The tensors of a batch on a device; lengths stay Python numbers."""
    return {name: value.to(device) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}


def losses_and_gradients(model: KDMCSEModel, batch: dict, dtype: torch.dtype) -> tuple[dict, dict]:
    """The losses and the gradients of all weights without dropout, under autocast where `dtype` is bfloat16."""
    model.eval()
    half = (
        torch.autocast(batch["input_ids"].device.type, dtype) if dtype != torch.float32 else contextlib.nullcontext()
    )
    with half:
        outputs = model(**batch)
    outputs.loss.backward()
    losses = {name: value.item() for name, value in outputs.items() if name.endswith("loss")}
    weights = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return losses, {name: gradient.float().cpu() for name, gradient in weights.items()}


def compare(
    name: str, found: tuple[dict, dict], expected: tuple[dict, dict], limits: tuple[float, float]
) -> list[str]:
    """Print the largest relative differences of losses and of gradients; returns what exceeds its limit."""
    losses = {key: abs(found[0][key] / value - 1) for key, value in expected[0].items()}
    least = 1e-3 * max(gradient.norm() for gradient in expected[1].values())  # smaller gradients are rounding alone
    gradients = {
        key: float((found[1][key] - value).norm() / max(value.norm(), least)) for key, value in expected[1].items()
    }
    faults, words = [], []
    for kind, differences, limit in zip(("loss", "gradient"), (losses, gradients), limits, strict=True):
        worst = max(differences, key=lambda key: (math.isnan(differences[key]), differences[key]))
        words.append(f"{kind} {differences[worst]:.1e}")
        if not differences[worst] <= limit:
            faults.append(f"{name}: {kind} {worst} differs from the CPU's by {differences[worst]:.1e}, above {limit}")
    print(f"  {name:35} against the padded CPU, float32: {', '.join(words)}")
    return faults


def check_kernels(device: torch.device) -> list[str]:
    """Print what each kernel of attention does on a device; returns what is wrong with those that are used."""
    faults = []
    for dtype in (torch.float32, torch.bfloat16):
        used = kernel_for(device.type, dtype)
        for kernel in (flash_varlen, sdpa_jagged, sdpa_by_length, sdpa_in_slots):
            name = f"{kernel.__name__}, {str(dtype).removeprefix('torch.')}"
            if kernel is flash_varlen and not is_flash_attn_2_available():
                print(f"  {name:35} the package flash-attn is not there")
                continue
            in_slots = kernel is sdpa_in_slots  # its values are seen in the model's
            fault = None if in_slots else find_fault(kernel, device.type, dtype)
            fault = fault or find_dropout_fault(kernel, device, dtype)
            words = "with its dropout" if in_slots else "as attention written out, with its dropout"
            is_used = in_slots or kernel is used
            print(f"  {name:35} {fault or words}{' (used)' * is_used}")
            if fault and is_used:
                faults.append(f"{name}: {fault}")
    return faults


def find_dropout_fault(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> str | None:
    """What is wrong with the dropout of a kernel, or None.

    All keys are alike and each value is the number of its token, written twice: the output shows which probabilities
    were dropped, of every query. They must be the share asked for, the others scaled up for them, both copies of a
    probability dropped together, other ones in each sentence, head and call, and the same ones in the gradient.
    """
    torch.manual_seed(0)
    lengths = (TOKENS,) * SENTENCES
    if kernel is sdpa_in_slots:
        mask = torch.ones(SENTENCES, TOKENS, device=device)
        spans: Spans | Slots = Slots.of(slots_of(lengths, TOKENS).to(device), mask)
    else:
        spans = Spans.of(lengths, device)
    alike = torch.zeros(SENTENCES * TOKENS, HEADS, 2 * TOKENS, device=device, dtype=dtype)
    ones = torch.eye(TOKENS, device=device, dtype=dtype).repeat(SENTENCES, 2)
    value = ones[:, None].expand_as(alike).clone().requires_grad_()
    output, other = (kernel(alike, alike, value, spans, spans, dropout=RATE) for _ in range(2))
    cotangent = torch.randn_like(output)
    (gradient,) = torch.autograd.grad(output, value, cotangent)

    sentences = output.detach().float().unflatten(0, (SENTENCES, TOKENS))
    found, copy = sentences.split(TOKENS, dim=-1)  # (sentences, queries, heads, keys)
    kept = found > 0
    rate = 1 - float(kept.float().mean())
    if abs(rate - RATE) > 0.01:  # flash-attn rounds it to a multiple of 1/256
        return f"it drops {rate:.3f} of the probabilities, asked for {RATE}"
    if not torch.equal(kept, copy > 0):
        return "it drops parts of the output, not probabilities"
    if abs(float(found[kept].mean()) * TOKENS * (1 - rate) - 1) > 0.02:
        return "it does not scale up what it keeps"
    if torch.equal(output, other) or torch.equal(kept[0], kept[1]) or torch.equal(kept[:, :, 0], kept[:, :, 1]):
        return "it drops the same in several calls, sentences or heads"
    expected = torch.einsum("sqhk,sqhd->skhd", found, cotangent.float().unflatten(0, (SENTENCES, TOKENS)))
    difference = (gradient.float() - expected.flatten(0, 1)).norm() / expected.norm()
    return None if difference < 0.02 else "its gradient drops other probabilities than its output"
