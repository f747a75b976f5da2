"""SIGTERM, as schedulers and `kill` send it: save a checkpoint at the end of the step and stop."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Optimizer steps between two agreements of several processes, for which a GPU has to be waited for.
_STEPS_TO_AGREE = 10


class StopOnSigterm(TrainerCallback):
    """Ends training with a checkpoint once any process has been sent SIGTERM.

    A process alone stops at the end of the step, several agree on it every ten steps and before an evaluation or a
    checkpoint.

    Trainer's own `enable_jit_checkpoint` saves before the optimizer's step, when dropout has already moved on, and
    each process for itself: neither resumes exactly.

    Args:
        sum_over_processes: reduces a tensor (), the same on all processes.

    Attributes:
        received: whether training ended for this reason.
    """

    def __init__(self, sum_over_processes: Callable[[torch.Tensor], torch.Tensor]):
        self._sum_over_processes = sum_over_processes
        self._pending = False
        self._former: Any = None  # what signal.signal gave back
        self.received = False

    def on_train_begin(self, args, state, control, **kwargs):
        self._pending = self.received = False
        if threading.current_thread() is threading.main_thread():  # others cannot set handlers
            self._former = signal.signal(signal.SIGTERM, self._notice)

    def on_epoch_begin(self, args, state, control, **kwargs):
        self._mask(signal.SIG_BLOCK)  # data workers are forked now, and inherit this

    def on_step_begin(self, args, state, control, **kwargs):
        self._mask(signal.SIG_UNBLOCK)

    def on_step_end(self, args, state, control, **kwargs):
        if args.world_size == 1:
            pending = self._pending
        elif self._is_time_to_agree(state, control):
            # All processes must leave at the same step, though the signal may reach them at different ones.
            flag = torch.tensor(float(self._pending), device=args.device)
            pending = bool(self._sum_over_processes(flag).item())
        else:
            return
        if pending:
            logger.warning(f"SIGTERM: training stops after step {state.global_step}, with a checkpoint")
            self.received = True
            control.should_save = control.should_training_stop = True

    def _is_time_to_agree(self, state, control) -> bool:
        return (
            state.global_step % _STEPS_TO_AGREE == 0
            or state.global_step >= state.max_steps
            or control.should_evaluate
            or control.should_save
        )

    def on_epoch_end(self, args, state, control, **kwargs):
        # Trainer mistakes an early stop for the end of an epoch and would evaluate and save again.
        if self.received and state.epoch % 1:
            control.should_evaluate = control.should_save = False

    def restore_handler(self) -> None:
        """Restore the SIGTERM handler that was installed before training, however training ended."""
        self._mask(signal.SIG_UNBLOCK)
        if self._former is not None:
            signal.signal(signal.SIGTERM, self._former)
            self._former = None

    def _mask(self, how: int) -> None:
        if self._former is not None and hasattr(signal, "sigwaitinfo"):
            signal.pthread_sigmask(how, {signal.SIGTERM})

    def _notice(self, signum, frame):
        self._pending = True


def ignore_sigterm(worker: int) -> None:
    """In a data worker: schedulers send it to all processes, and the trainer needs its workers until it leaves.

    The trainer's own still ends it, as at the trainer's exit; a trainer that was killed is missed within seconds, by
    torch. Systems that do not tell who sent a signal, such as macOS, keep torch's way: the worker ends, and the run.
    """
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_at_the_trainers_word, daemon=True).start()


def _end_at_the_trainers_word() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
