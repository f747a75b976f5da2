"""Between two logs, a step reads no number back from the device: each would make the processor wait for a GPU."""

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


class NothingIsRead(TorchDispatchMode):
    """Raises where an operation reads numbers."""

    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        chooses = function.overloadpacket is aten.index and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if chooses or function.overloadpacket in READERS:
            raise AssertionError(f"{function} waits for the device")
        self.operations += 1
        return function(*args, **(kwargs or {}))


class BetweenLogs(TrainerCallback):
    """From the end of the first log to the last step before the second: whole steps, data and optimizer included."""

    def __init__(self):
        self.mode, self.steps = NothingIsRead(), 0

    def on_log(self, args, state, control, **kwargs):
        if state.global_step == 4:
            self.mode.__enter__()

    def on_step_end(self, args, state, control, **kwargs):
        if 4 < state.global_step < 8:
            self.steps += 1
        if state.global_step == 7:
            self.mode.__exit__(None, None, None)


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
    ],
    ids=lambda arguments: "-".join(map(str, arguments)) or "plain",
)
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_step_between_two_logs_reads_nothing(tmp_path, monkeypatch, arguments, pooling):
    # On a CPU alone the loss is looked at in every step, which makes nobody wait.
    monkeypatch.setattr(KDMCSETrainer, "reads_at_once", False)
    widths = {"image_dim": tiny.IMAGE_DIM, "text_dim": tiny.TEXT_DIM}
    objective = arguments.get("objective", "kdmcse")
    model = KDMCSEModel.from_encoder(tiny.encoder(), objective=objective, pooling=pooling, **widths)
    assert packing_support(model.encoder).plan is not None
    between = BetweenLogs()
    whole_run = {"eval_strategy": "no", "save_strategy": "no", "max_steps": 8}
    arguments = {name: value for name, value in arguments.items() if name != "objective"}
    ours = trainer(tmp_path, model=model, callbacks=[between], **whole_run, **arguments)
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
    ):
        with NothingIsRead(), pytest.raises(AssertionError, match="waits"):
            wait()
