"""Pushing each new best model to the Hub in the background, while training continues."""

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
    """Pushes repositories one at a time in a background thread. Failures are reported and never stop training.

    Args:
        target: the repository on the Hub.
        output_dir: folder of the run. Private copies and `PUSH_FAILED.md` are written there.
        deadline: seconds that one push may take, and that `finish` may take in all.

    Attributes:
        refusal: why no further push is tried; None as long as pushes are tried.

    Raises:
        ValueError: the repository name or the branch is not allowed.
    """

    def __init__(self, target: Target, output_dir: str, deadline: float):
        check_target(target)
        self.target, self.output_dir, self.deadline = target, output_dir, deadline
        self.refusal: str | None = None
        self._lock = threading.Lock()
        self._waiting: tuple[pathlib.Path, str, str] | None = None
        self._thread: threading.Thread | None = None
        self._newest: str | None = None  # the checkpoint that is being pushed, or that waits for it
        self._warned = False
        atexit.register(self._note_unfinished_push)

    def check(self, model_bytes: int) -> str | None:
        """Ask the Hub, before training, whether it would accept the model, and warn of any problem.

        After a problem that a further attempt cannot mend, such as an invalid token, no push is tried at all.

        Args:
            model_bytes: size of the weights. Twice as much disk space must be free: for the private copy, and for
                the download that verifies it.

        Returns:
            The problem, or None if there is none.
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
        """Copy a checkpoint now, and push the copy as soon as no other push is running.

        A checkpoint that still waits for its push is replaced by this one.

        Args:
            checkpoint: folder of the checkpoint.
            message: of the commit.
        """
        if self.refusal is not None:
            self.give_up(checkpoint, self.refusal)
            return
        try:
            copy = stage(checkpoint, self.output_dir)
        except (OSError, ValueError) as error:
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
        """Wait for the running push, push the final repository and verify it, all within the deadline.

        Args:
            directory: folder of the best model with its final card. A checkpoint that still waits is dropped, because
                this repository is newer.
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
        """Note in `PUSH_FAILED.md` that the model in `directory` was not pushed; the first failure in a row warns."""
        return self._settle(Pushed(self.target.repo_id, problem=problem), directory)

    def _note_unfinished_push(self) -> None:
        """At exit: a push that is still running ends with this process, so the note says how to repeat it."""
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
            except Exception as error:  # otherwise the thread would die without a message
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
        except Exception as error:  # the model is trained and saved: never fail a finished run over a push
            return Pushed(self.target.repo_id, problem=f"{type(error).__name__}: {error}")
        finally:
            if copy is not None:
                shutil.rmtree(copy, ignore_errors=True)

    def _settle(self, pushed: Pushed, directory: str) -> Pushed:
        """Write or remove `PUSH_FAILED.md` by the outcome. Of several failures in a row only the first warns."""
        failed = pushed.problem is not None
        try:
            if failed:
                pushed = dataclasses.replace(pushed, later=push_command(directory, self.target))
                write_note(self.output_dir, directory, self.target, pushed.problem)  # type: ignore[arg-type]
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
