"""Pushing each new best model while training goes on."""

import dataclasses
import pathlib
import shutil
import threading
import time

from transformers.utils import logging

from .note import push_command, remove_note, write_note
from .process import CHECK_PATIENCE, Target, ask_hub
from .push import Pushed, check_target, push_copy, verify
from .rescore import Pairs
from .staging import clear_staging, stage

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
            replaced, self._waiting = self._waiting, (copy, checkpoint, message)
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
            replaced, self._waiting = self._waiting, None
            thread = self._thread
        if replaced is not None:
            shutil.rmtree(replaced[0], ignore_errors=True)
        if thread is not None:
            thread.join(self.deadline)
        if self.refusal is not None:
            return self.give_up(directory, self.refusal)
        return self._settle(self._push(directory, message, end, pairs), directory)

    def give_up(self, directory: str, problem: str) -> Pushed:
        """Leave `PUSH_FAILED.md` about the model in `directory`, and warn."""
        return self._settle(Pushed(self.target.repo_id, problem=problem), directory)

    def _work(self) -> None:
        while True:
            with self._lock:
                work, self._waiting = self._waiting, None
                if work is None:
                    self._thread = None
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
        """Leave or take away the note that says what is missing on the Hub."""
        try:
            if pushed.problem is None:
                remove_note(self.output_dir)
                logger.info(str(pushed))
            else:
                write_note(self.output_dir, directory, self.target, pushed.problem)
                logger.warning(
                    f"{pushed}. Training is not affected; to push it later:\n"
                    f"    {push_command(directory, self.target)}"
                )
        except OSError as error:
            logger.warning(f"{pushed}; and the note that says so could not be written: {error}")
        return pushed
