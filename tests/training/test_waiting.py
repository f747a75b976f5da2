"""Between two logs, a step reads no number back from the device: each would make the processor wait for a GPU."""

import functools

import pytest
import tiny
import torch
from tiny_trainer import trainer
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from kdmcse_hf import KDMCSEModel, KDMCSETrainer
from kdmcse_hf.encoding.support import packing_support

aten = torch.ops.aten
# What reads a number of a tensor, or makes a tensor whose size depends on numbers of another.
READERS = (
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten.equal,
    aten.is_nonzero,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.repeat_interleave,
)


# What reads numbers without an operation, where a tensor is on the CPU anyway.
METHODS = ("tolist", "numpy", "cpu", "item", "__array__", "__bool__", "__float__", "__int__", "__index__")


class NothingIsRead(TorchDispatchMode):
    """Raises where an operation or a method reads numbers."""

    operations = 0

    def __enter__(self):
        self._former = {name: getattr(torch.Tensor, name) for name in METHODS}
        for name in METHODS:
            setattr(torch.Tensor, name, functools.partialmethod(self._refuse, name))
        return super().__enter__()

    def __exit__(self, *error):
        for name, method in self._former.items():
            setattr(torch.Tensor, name, method)
        return super().__exit__(*error)

    @staticmethod
    def _refuse(tensor, name, *args, **kwargs):
        raise AssertionError(f"{name} waits for the device")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        chooses = function.overloadpacket is aten.index and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if chooses or function.overloadpacket in READERS:
            raise AssertionError(f"{function} waits for the device")
        self.operations += 1
        return function(*args, **(kwargs or {}))


class BetweenLogs(TrainerCallback):
    """Whole steps between two logs, forward, backward, clipping and optimizer; batches are made outside of them."""

    def __init__(self):
        self.mode, self.steps, self.is_on = NothingIsRead(), 0, False

    def on_step_begin(self, args, state, control, **kwargs):
        if 4 <= state.global_step < 7:
            self.mode.__enter__()
            self.is_on = True

    def on_step_end(self, args, state, control, **kwargs):
        self.leave()
        self.steps += 4 < state.global_step < 8

    def leave(self):
        if self.is_on:
            self.mode.__exit__(None, None, None)
            self.is_on = False


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"objective": "kdmcse_rank"},
        {"objective": "arccse"},
        {"mini_batch_size": 2},
        {"gradient_accumulation_steps": 2},
        {"bf16": True},
        {"max_grad_norm": 0.0},
        {"gradient_checkpointing": True},
        {"reads_at_once": True},
    ],
    ids=lambda arguments: "-".join(map(str, arguments)) or "plain",
)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_step_between_two_logs_reads_nothing(tmp_path, monkeypatch, arguments, pooling):
    # On a CPU alone the loss is looked at in every step, which makes nobody wait.
    monkeypatch.setattr(KDMCSETrainer, "reads_at_once", arguments.get("reads_at_once", False))
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}
    objective = arguments.get("objective", "kdmcse")
    model = KDMCSEModel.from_encoder(tiny.encoder(), objective=objective, pooling=pooling, **widths)
    assert packing_support(model.encoder).plan is not None
    between = BetweenLogs()
    whole_run = {"eval_strategy": "no", "save_strategy": "no", "max_steps": 8}
    known = {name: value for name, value in arguments.items() if name not in ("objective", "reads_at_once")}
    ours = trainer(tmp_path, model=model, callbacks=[between], **whole_run, **known)
    if "reads_at_once" in arguments:  # so this would be noticed
        with pytest.raises(AssertionError, match="tolist waits"):
            ours.train()
        between.leave()
        return
    ours.train()
    assert between.steps == 3, "two caption steps or one were among them"
    assert between.mode.operations > 300


def test_the_guard_notices_what_waits():
    values = torch.arange(4)
    for wait in (
        lambda: values[0].item(),
        lambda: bool(values.sum() > 3),
        lambda: values[values > 2],
        lambda: values.nonzero(),
        lambda: values.repeat_interleave(values),
        lambda: values.tolist(),
        lambda: values.numpy(),
        lambda: values.cpu(),
    ):
        with NothingIsRead(), pytest.raises(AssertionError, match="waits"):
            wait()
