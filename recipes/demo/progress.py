"""What the demo shows while it works: one bar a phase; everything that libraries say goes into a file."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import datasets
from tqdm import tqdm
from transformers.utils import logging as transformers_logging

_LAYOUT = "{desc:<46} {percentage:3.0f} % |{bar:24}| {n_fmt}/{total_fmt} in {elapsed}{postfix}"


def phase(description: str, total: int, unit: str) -> tqdm:
    """The bar of one phase, which counts `total` of `unit` and stays on the terminal when the phase is over."""
    seldom = 0.1 if sys.stderr.isatty() else 30.0  # into a file a bar is written anew on each update
    return tqdm(total=total, desc=description, unit=unit, bar_format=_LAYOUT, mininterval=seldom, ncols=120)


def steps(description: str, total: int, unit: str = "step") -> Iterator[int]:
    """`range(total)`, shown as one phase."""
    with phase(description, total, unit) as bar:
        for number in range(total):
            yield number
            bar.update()


@contextlib.contextmanager
def libraries_log_to(path: Path) -> Iterator[None]:
    """While this lasts, log messages go into the file at `path`, and libraries draw no bars of their own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    own = (logging.getLogger(), transformers_logging.get_logger("transformers"))
    for logger in own:
        logger.addHandler(handler)
    transformers_logging.disable_default_handler()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        datasets.enable_progress_bars()
        transformers_logging.enable_progress_bar()
        transformers_logging.enable_default_handler()
        for logger in own:
            logger.removeHandler(handler)
        handler.close()


@contextlib.contextmanager
def output_into(path: Path) -> Iterator[None]:
    """While this lasts, what is printed is added to the file at `path`; a bar that was made before stays visible."""
    with open(path, "a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        yield
