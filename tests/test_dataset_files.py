"""kdmcse_hf/dataset_files.py: what a source is, and which split of it is taken."""

import datasets
import pytest

from kdmcse_hf.dataset_files import BUILDERS, file_builder, open_dataset


@pytest.fixture
def splits(tmp_path) -> str:
    """A saved dataset of two splits, each with one row that names it."""
    rows = {name: datasets.Dataset.from_dict({"text": [name]}) for name in ("train", "val")}
    datasets.DatasetDict(rows).save_to_disk(tmp_path / "splits")
    return str(tmp_path / "splits")


def test_of_several_splits_all_or_the_named_one_are_opened(splits):
    assert set(open_dataset(splits)) == {"train", "val"}
    assert open_dataset(splits, "val")["text"][:] == ["val"]
    with pytest.raises(KeyError, match="test"):
        open_dataset(splits, "test")


def test_the_split_of_a_directory_of_files_is_told_by_the_files_name(tmp_path):
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"text": "{name}"}}\n')
    assert set(open_dataset(str(tmp_path))) == {"train", "validation"}
    assert open_dataset(str(tmp_path), "validation")["text"][:] == ["validation"]
    with pytest.raises(ValueError, match='Unknown split "test"'):
        open_dataset(str(tmp_path), "test")


@pytest.mark.parametrize("split", [None, "train", "val"])
def test_one_file_or_one_saved_table_is_opened_whole_whatever_the_split(split, splits, tmp_path):
    table = open_dataset(splits, "train")
    table.save_to_disk(tmp_path / "saved")
    table.to_parquet(tmp_path / "rows.PARQUET")
    (tmp_path / "rows.tsv").write_text("text\tnumber\ntrain\t1\n")
    for name in ("saved", "rows.PARQUET", "rows.tsv"):
        assert open_dataset(str(tmp_path / name), split)["text"][:] == ["train"]


def test_names_of_files_tell_their_builder_and_directories_and_ids_have_none(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    assert file_builder(str(tmp_path / "folder.csv")) is None
    assert file_builder("owner/name") is file_builder("file.bin") is None
    assert file_builder("hf://datasets/owner/name/part.JSONL") == "json"
    assert {file_builder(f"a{suffix}") for suffix in BUILDERS} == {"text", "json", "csv", "parquet"}
