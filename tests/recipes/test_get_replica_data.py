"""The data of the replica, from files of the form that the Hub's repository and Flickr8k have."""

import json
import tarfile

import get_replica_data
import pytest


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stand-ins of the repository's two files; counts what was asked for."""
    (tmp_path / "wiki1m_for_simcse.txt").write_text("".join(f"Sentence {n} .\n" for n in range(12_000)))
    (tmp_path / "STS").mkdir()
    (tmp_path / "STS" / "pairs.txt").write_text("a\tb\n")
    with tarfile.open(tmp_path / "senteval.tar", "w") as archive:
        archive.add(tmp_path / "STS", "STS")
    asked = []

    def download(repository, name, repo_type):
        asked.append((repository, name, repo_type))
        return str(tmp_path / name)

    monkeypatch.setattr(get_replica_data, "hf_hub_download", download)
    return asked


def words(tmp_path, text: str) -> list[str]:
    (tmp_path / "Flickr8k.token.txt").write_text(text)
    return ["--flickr8k", str(tmp_path / "Flickr8k.token.txt"), "--output", str(tmp_path / "DATA")]


def test_the_three_parts_are_made_once(hub, tmp_path, capsys):
    arguments = words(tmp_path, "b.jpg#0\tA dog .\nb.jpg#1\tA brown dog .\na.jpg#0\tA cat .\n")
    assert get_replica_data.main(arguments) == 0
    data = tmp_path / "DATA"
    captions = [json.loads(line) for line in (data / "captions" / "flickr8k.jsonl").read_text().splitlines()]
    assert captions == [
        {"image": "a.jpg", "captions": ["A cat ."]},
        {"image": "b.jpg", "captions": ["A dog .", "A brown dog ."]},
    ]
    sentences = (data / "text" / "wiki1m_head.txt").read_text().splitlines()
    assert (len(sentences), sentences[-1]) == (11_914, "Sentence 11913 .")
    assert (data / "senteval" / "STS" / "pairs.txt").is_file()
    assert get_replica_data.main(arguments) == 0
    assert [name for _, name, _ in hub] == ["wiki1m_for_simcse.txt", "senteval.tar"], "not asked for again"


def test_captions_of_another_form_are_refused_before_anything_is_downloaded(hub, tmp_path, capsys):
    assert get_replica_data.main(words(tmp_path, "a.jpg, A cat .\n")) == 2
    assert "line 1" in capsys.readouterr().err
    assert hub == []


def test_without_the_hub_the_missing_file_is_named(tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(get_replica_data, "hf_hub_download", fail)
    assert get_replica_data.main(words(tmp_path, "a.jpg#0\tA cat .\n")) == 2
    assert "wiki1m_for_simcse.txt of princeton-nlp/datasets-for-simcse cannot be had" in capsys.readouterr().err
