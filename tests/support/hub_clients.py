"""What users do with a repository on the Hub, with the real clients: tests/hub_clients.py REPO REVISION FOLDER.

Without FOLDER, only what needs no network.
"""

import json
import pathlib
import sys

import datasets
import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import HfHubHTTPError
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from kdmcse_hf import KDMCSEModel

SENTENCES = ["a dog runs", "the cat sleeps near the house"]


def embeddings(repo: str, revision: str | None) -> list[np.ndarray]:
    """By stock transformers, by sentence-transformers and by kdmcse_hf."""
    tokenizer = AutoTokenizer.from_pretrained(repo, revision=revision)
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.inference_mode():
        stock = AutoModel.from_pretrained(repo, revision=revision)(**batch).last_hidden_state[:, 0]
        own = KDMCSEModel.from_pretrained(repo, revision=revision).embed(**batch)
    packed = SentenceTransformer(repo, revision=revision, device="cpu").encode(SENTENCES)
    return [stock.numpy(), packed, own.numpy()]


def operations(api: HfApi, repo: str) -> list[int]:
    """Commits on a branch, through all of their kinds; statuses of what is refused."""
    assert api.whoami()["name"] == repo.split("/")[0]
    api.auth_check(repo, write=True)
    assert api.create_repo(repo, exist_ok=True).repo_id == repo
    api.create_branch(repo, branch="dev")
    main, dev = (api.repo_info(repo, revision=name).sha for name in ("main", "dev"))
    assert main == dev
    generator = np.random.default_rng(0)
    mixed = generator.standard_normal(300_000, dtype=np.float32).tobytes() + bytes(500_000) + generator.bytes(500_000)
    files = {"mixed.bin": mixed, "later.bin": mixed[1000:], "deep/a.txt": b"a", "deep/b.txt": b"b", "empty": b""}
    added = [CommitOperationAdd(path, content) for path, content in files.items()]
    api.create_commit(repo, added, commit_message="added", revision="dev", parent_commit=dev)
    for path, content in files.items():
        assert pathlib.Path(hf_hub_download(repo, path, revision="dev")).read_bytes() == content, path
    gone = [CommitOperationDelete("deep/"), CommitOperationDelete("mixed.bin")]
    api.create_commit(repo, gone, commit_message="gone", revision="dev")
    assert {entry.path for entry in api.list_repo_tree(repo, revision="dev")}.isdisjoint({"deep", "mixed.bin"})
    assert set(api.list_repo_files(repo, revision="dev")) == {*api.list_repo_files(repo), "later.bin", "empty"}
    late = {"operations": [CommitOperationDelete("README.md")], "commit_message": "late"}
    return [
        refused(lambda: api.create_commit(repo, revision="dev", parent_commit=dev, **late)),
        refused(lambda: api.create_commit(repo, revision="v1", **late)),
        refused(lambda: api.create_branch(repo, branch="dev")),
        refused(lambda: api.create_tag(repo, tag="v1")),
        refused(lambda: api.auth_check("bob/model", write=True)),
        refused(lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="bob/model")),
        refused(lambda: api.repo_info("alice/nothing")),
    ]


def refused(action) -> int:
    """Status with which the Hub refuses; 0 where it does not."""
    try:
        action()
    except HfHubHTTPError as error:
        return error.response.status_code
    return 0


def dataset(api: HfApi) -> list[str]:
    """Of JSON lines and of Parquet."""
    rows = api.create_repo("alice/rows", repo_type="dataset").repo_id
    buffer = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a horse"]}), buffer)
    files = {"train.jsonl": b'{"text": "a dog"}\n{"text": "a cat"}\n', "test.parquet": buffer.getvalue().to_pybytes()}
    for path, content in files.items():
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id=rows, repo_type="dataset")
    lines = datasets.load_dataset(rows, data_files="train.jsonl", split="train")["text"][:]
    return lines + datasets.load_dataset(rows, data_files="test.parquet", split="train")["text"][:]


def main() -> None:
    """Print what was seen, as JSON."""
    repo, revision, *folder = sys.argv[1:]
    if not folder:
        print(json.dumps(embeddings(repo, revision)[0].tolist()))
        return
    api, seen = HfApi(), {}
    api.upload_folder(repo_id=repo, folder_path=folder[0], commit_message="A later, other model", create_pr=False)
    latest, pinned = embeddings(repo, None), embeddings(repo, revision)
    seen["the three agree"] = all(
        np.allclose(found[0], other, atol=1e-6) for found in (latest, pinned) for other in found
    )
    seen["revisions differ"] = not np.allclose(latest[0], pinned[0], atol=1e-3)
    api.create_tag(repo, tag="v1", revision=revision)
    seen["pinned"] = pinned[0].tolist()
    seen["tag"] = bool(np.array_equal(embeddings(repo, "v1")[0], pinned[0]))
    seen["commits"] = [commit.title for commit in api.list_repo_commits(repo)]
    snapshot = pathlib.Path(snapshot_download(repo, revision=revision))
    seen["snapshot"] = sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
    seen["card"] = ModelCard.load(repo).data.pipeline_tag
    ModelCard.load(repo).validate()
    seen["refused"] = operations(api, repo)
    seen["dataset"] = dataset(api)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
