"""Processes that are forked from one that has imported the libraries already: importing them takes five seconds.

The fork server is the one of the standard library. Each process that runs tests starts one, when it is first needed.
"""

import dataclasses
import multiprocessing
import multiprocessing.forkserver
import os
import pathlib
import runpy
import socket
import sys
import tempfile
from collections.abc import Callable
from unittest import mock

import torch
import torch.multiprocessing

PRELOADED = ["objective_steps", "killed_runs", "warm_up"]


def context() -> multiprocessing.context.BaseContext:
    """The fork server, running. Its children find the environment and the module path of the moment of its start."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)), OMP_NUM_THREADS="1"):
        multiprocessing.forkserver.ensure_running()
    return server


def process(function: Callable, *arguments) -> multiprocessing.Process:
    """A process that will call `function(*arguments)`."""
    return context().Process(target=_call, args=(multiprocessing.get_start_method(), function, *arguments))


def _call(start_method: str, function: Callable, *arguments) -> None:
    # Where nothing else is said, processes that this one starts would come from the fork server too.
    multiprocessing.set_start_method(start_method, force=True)
    torch.set_num_threads(1)
    function(*arguments)


def launcher_environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun and `accelerate launch` set for one of `world` processes on this machine."""
    named = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in named.items()}}


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run_ranks(function: Callable, world: int, *arguments) -> None:
    """Call `function(rank, world, *arguments)` in `world` processes at once; an exception of any is raised here."""
    context()
    arguments = (multiprocessing.get_start_method(), function, world, free_port(), *arguments)
    torch.multiprocessing.start_processes(_rank, arguments, nprocs=world, start_method="forkserver")


def _rank(rank: int, start_method: str, function: Callable, world: int, port: int, *arguments) -> None:
    os.environ.update(launcher_environment(rank, world, port))
    _call(start_method, function, rank, world, *arguments)


@dataclasses.dataclass
class Finished:
    """What a shell would see of a program."""

    returncode: int
    stdout: str
    stderr: str


def run_program(*words: str, timeout: float = 300.0, **environment: str) -> Finished:
    """`python WORDS...`, the first being a script or `-m` and a module, with more variables in its environment.

    As a process of its own in all but the imports: exit status, output and tracebacks are those of the program.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, err = pathlib.Path(folder, "out"), pathlib.Path(folder, "err")
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        program = process(_program, words, variables, os.getcwd(), str(out), str(err))
        program.start()
        program.join(timeout)
        if program.exitcode is None:
            program.kill()
            program.join()
            raise TimeoutError(f"{words} ran for more than {timeout:g} seconds: {err.read_text()[-3000:]}")
        return Finished(program.exitcode, out.read_text(), err.read_text())


def _program(words, environment: dict[str, str], folder: str, out: str, err: str) -> None:
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if words[0] == "-m":
        sys.argv = list(words[1:])
        sys.path.insert(0, folder)
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        sys.path.insert(0, str(pathlib.Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")
