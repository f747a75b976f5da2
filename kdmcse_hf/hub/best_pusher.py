"""Pushing each new best model while training goes on."""

import atexit
import dataclasses
import pathlib
import shutil
import threading
import time

from transformers.utils import logging

from .compare import Pairs
from .failure_note import NOTE_NAME, push_command, remove_note, write_note
from .private_copy import clear_staging, stage
from .push import Pushed, check_target, push_copy, verify
from .worker_client import CHECK_PATIENCE, Target, ask_hub

logger = logging.get_logger(__name__)


class BestPusher:
    """Pushes repositories one at a time in a thread; nothing that goes wrong there reaches training.

    Args:
        target: repository on the Hub.
        output_dir: of the run; private copies and `PUSH_FAILED.md` go there.
        deadline: seconds that one push may take, and that `finish` waits in all.

    Raises:
        ValueError: a repository name or branch that is not allowed.
    """

    def __init__(self, target: Target, output_dir: str, deadline: float):
        check_target(target)
        self.target, self.output_dir, self.deadline = target, output_dir, deadline
        self.refusal: str | None = None
        self._lock = threading.Lock()
        self._waiting: tuple[pathlib.Path, str, str] | None = None
        self._thread: threading.Thread | None = None
        self._newest: str | None = None  # checkpoint that the thread pushes or is about to
        self._warned = False
        atexit.register(self._leave_word)

    def check(self, model_bytes: int) -> str | None:
        """Ask the Hub, before training, whether it would take the model; a warning says where it would not.

        Args:
            model_bytes: size of the weights; twice as much must be free for the private copy and for verifying it.

        Returns:
            The problem, None if there is none. No further push is tried where trying again would change nothing.
        """
        pathlib.Path(self.output_dir).mkdir(parents=True, exist_ok=True)
        clear_staging(self.output_dir)
        problem = None
        answer = ask_hub("check", self.target, deadline=60, **CHECK_PATIENCE)
        if answer["ok"]:
            self.target = dataclasses.replace(self.target, repo_id=answer["repo_id"])
        else:
            problem = answer["reason"]
            self.refusal = problem if answer["permanent"] else None
        if (free := shutil.disk_usage(self.output_dir).free) < 2 * model_bytes:
            problem = f"{self.output_dir} has {free / 1e9:.1f} GB free, pushing needs {2 * model_bytes / 1e9:.1f} GB"
        if problem:
            later = "it is tried again with each new best" if self.refusal is None else "no push is tried"
            logger.warning(
                f"push_to_hub: {problem}. Training goes on and {later}; afterwards:\n"
                f"    {push_command(self.output_dir, self.target)}"
            )
            self._warned = True
        return problem

    def submit(self, checkpoint: str, message: str) -> None:
        """Copy a checkpoint now and push it when the push before it is over; it replaces one that still waits."""
        if self.refusal is not None:
            self.give_up(checkpoint, self.refusal)
            return
        try:
            copy = stage(checkpoint, self.output_dir)
        except OSError as error:
            self.give_up(checkpoint, f"no private copy could be made: {error}")
            return
        with self._lock:
            replaced, self._waiting, self._newest = self._waiting, (copy, checkpoint, message), checkpoint
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="push-best", daemon=True)
                self._thread.start()
        if replaced is not None:
            shutil.rmtree(replaced[0], ignore_errors=True)

    def finish(self, directory: str, message: str, pairs: Pairs | None = None) -> Pushed:
        """Wait for the push under way, push the final repository, verify it: all within the deadline.

        Args:
            directory: holds the best model with its final card; a best that still waits is not sent before it.
            message: of the commit, which is made only if the branch does not hold this content yet.
            pairs: STS pairs for the verification.
        """
        end = time.monotonic() + self.deadline
        with self._lock:
            replaced, self._waiting, self._newest = self._waiting, None, None
            thread = self._thread
        if replaced is not None:
            shutil.rmtree(replaced[0], ignore_errors=True)
        if thread is not None:
            thread.join(self.deadline)
        if self.refusal is not None:
            return self.give_up(directory, self.refusal)
        return self._settle(self._push(directory, message, end, pairs), directory)

    def give_up(self, directory: str, problem: str) -> Pushed:
        """Leave `PUSH_FAILED.md` about the model in `directory`, and warn of it unless that has been done."""
        return self._settle(Pushed(self.target.repo_id, problem=problem), directory)

    def _leave_word(self) -> None:
        """At the exit of a run that stopped early: its pushing process ends with it."""
        if self._newest is not None:
            clear_staging(self.output_dir)
            self.give_up(self._newest, "the run ended before the push did")

    def _work(self) -> None:
        while True:
            with self._lock:
                work, self._waiting = self._waiting, None
                if work is None:
                    self._thread = self._newest = None
                    return
            copy, checkpoint, message = work
            try:
                pushed = push_copy(copy, self.target, message, self.deadline)
            except Exception as error:  # a thread that dies would say nothing
                pushed = Pushed(self.target.repo_id, problem=f"{type(error).__name__}: {error}")
            finally:
                shutil.rmtree(copy, ignore_errors=True)
            self._settle(pushed, checkpoint)

    def _push(self, directory: str, message: str, end: float, pairs: Pairs | None) -> Pushed:
        copy = None
        try:
            copy = stage(directory, self.output_dir)
            pushed = push_copy(copy, self.target, message, max(end - time.monotonic(), 1))
            if pushed.problem:
                return pushed
            return verify(copy, pushed, self.target, pairs, max(end - time.monotonic(), 1))
        except Exception as error:  # the model is trained and saved: nothing here is worth losing the run
            return Pushed(self.target.repo_id, problem=f"{type(error).__name__}: {error}")
        finally:
            if copy is not None:
                shutil.rmtree(copy, ignore_errors=True)

    def _settle(self, pushed: Pushed, directory: str) -> Pushed:
        """Leave or take away the note that says what the Hub lacks; of failures in a row, warn of the first."""
        failed = pushed.problem is not None
        try:
            if failed:
                pushed = dataclasses.replace(pushed, later=push_command(directory, self.target))
                write_note(self.output_dir, directory, self.target, pushed.problem)
            else:
                remove_note(self.output_dir)
            note = f"{NOTE_NAME} in {self.output_dir} has the command for the newest best"
        except OSError as error:
            note = f"{NOTE_NAME} in {self.output_dir} is not up to date: {error}"
        if not failed:
            logger.info(str(pushed))
        elif not self._warned:
            logger.warning(f"{pushed}\nTraining is not affected; further failures are not told here, {note}")
        self._warned = failed
        return pushed
