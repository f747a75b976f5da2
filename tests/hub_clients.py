"""What users do with a repository on the Hub, with the real clients: tests/hub_clients.py REPO REVISION FOLDER."""

import json
import os
import pathlib
import sys

import datasets
import numpy as np
import torch
from huggingface_hub import HfApi, ModelCard, constants, snapshot_download
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


def main() -> None:
    """Print what was seen, as JSON."""
    repo, revision, folder = sys.argv[1:]
    api, seen = HfApi(), {}
    api.upload_folder(repo_id=repo, folder_path=folder, commit_message="A later, other model", create_pr=False)
    latest, pinned = embeddings(repo, None), embeddings(repo, revision)
    seen["the three agree"] = all(
        np.allclose(found[0], other, atol=1e-6) for found in (latest, pinned) for other in found
    )
    seen["revisions differ"] = not np.allclose(latest[0], pinned[0], atol=1e-3)
    api.create_tag(repo, tag="v1", revision=revision)
    seen["tag"] = bool(np.array_equal(embeddings(repo, "v1")[0], pinned[0]))
    seen["commits"] = [commit.title for commit in api.list_repo_commits(repo)]
    snapshot = pathlib.Path(snapshot_download(repo, revision=revision))
    seen["snapshot"] = sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())
    seen["card"] = ModelCard.load(repo).data.pipeline_tag
    ModelCard.load(repo).validate()
    rows = api.create_repo("alice/rows", repo_type="dataset").repo_id
    api.upload_file(
        path_or_fileobj=b'{"text": "a dog"}\n{"text": "a cat"}\n',
        path_in_repo="train.jsonl",
        repo_id=rows,
        repo_type="dataset",
    )
    seen["dataset"] = datasets.load_dataset(rows, split="train")["text"][:]
    constants.HF_HUB_OFFLINE = True
    os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there
    seen["offline"] = bool(np.array_equal(embeddings(repo, revision)[0], pinned[0]))
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
