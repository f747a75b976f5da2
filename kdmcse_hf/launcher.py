"""A process that a launcher has started ends with it: an orphan would train on, and stand in the restart's way."""

import os
import signal
import threading
import time

_WATCHING_EVERY = 0.5  # seconds
# What every `accelerate launch` sets for its processes, or torchrun. Those that a shell has started may outlive it.
_SIGNS = ({"ACCELERATE_USE_CPU", "ACCELERATE_MIXED_PRECISION"}, {"TORCHELASTIC_RUN_ID"})
# As the package is imported: seconds of further imports follow, in which the launcher may end.
_PARENT = os.getppid()
_started = False


def end_with_launcher() -> None:
    """Send this process SIGTERM once its launcher has ended: a run in training then leaves with a checkpoint.

    Does nothing where no launcher has started the process, and on a second call.
    """
    global _started
    if not _started and any(signs <= os.environ.keys() for signs in _SIGNS):
        _started = True
        threading.Thread(target=_watch, name="watch-launcher", daemon=True).start()


def _watch() -> None:
    # Linux's PR_SET_PDEATHSIG would do the same there alone, and already when the thread that made this process ends.
    while os.getppid() == _PARENT:
        time.sleep(_WATCHING_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)
