"""The command that judges a teacher, says what thresholds filter, and draws it."""

import json
import pathlib
import sys

import datasets
import numpy as np
import pytest
import tiny_teachers
import torch
from drawn_features import draw_features, write_directory
from PIL import Image
from transformers import AutoModel, AutoProcessor

from kdmcse_hf.commands import extract_features, inspect_teacher
from kdmcse_hf.data.captions import load_captions
from kdmcse_hf.features.store import FeatureStore
from kdmcse_hf.teacher.analysis import threshold_by_quantile


@pytest.fixture
def store(tmp_path) -> pathlib.Path:
    """A directory whose caption-image cosines are far below 0.85, as CLIP's are, for all their order is right."""
    texts, images, ids = draw_features(images=40, captions=2, noise=0.5, width=12)
    return write_directory(
        tmp_path / "store", np.pad(texts, ((0, 0), (4, 0)), constant_values=5), np.pad(images, ((0, 0), (4, 0))), ids
    )


@pytest.fixture
def no_matplotlib(monkeypatch) -> None:
    """As in an installation without the extra `plots`; also saves the time of drawing."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def inspect(directory: pathlib.Path, *flags: str) -> dict:
    """Run the command on a few batches and read its report."""
    assert inspect_teacher.main([str(directory), "--num_batches", "10", *flags]) == 0
    folder = (
        pathlib.Path(flags[flags.index("--output_dir") + 1]) if "--output_dir" in flags else directory / "inspection"
    )
    return json.loads((folder / "inspection.json").read_text(encoding="utf-8"))


def as_dataset(store: pathlib.Path) -> datasets.Dataset:
    """The captions of a feature directory with the columns that a user's own dataset has."""
    source = FeatureStore.open(store)
    rows = source.rows(range(len(source)))
    return datasets.Dataset.from_dict({**rows, "image_id": rows.pop("image_ids")})


@pytest.mark.usefixtures("no_matplotlib")
def test_the_verdict_comes_first_then_the_thresholds(store, capsys):
    """With the numbers behind it, and the plain sentence where the paper's threshold is void."""
    report = inspect(store)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Verdict: good. ")
    recall, chance = (
        report["retrieval"]["caption_to_image"]["recall"],
        report["retrieval"]["image_to_caption"]["chance"],
    )
    assert f"  caption to image: recall@1 {recall['1']:.1%}, recall@5 {recall['5']:.1%}" in lines[1]
    assert lines[1].endswith("(by chance 2.5%, 12.5%, 25.0%), 80 queries, 40 candidates")
    assert f"(by chance {chance['1']:.1%}, {chance['5']:.1%}, {chance['10']:.1%})" in lines[2]
    assert (
        f"  caption and image: {report['overlap']['caption_image']:.1%} of random pairs are more similar" in lines[3]
    )
    output = "\n".join(lines)
    assert "caption and image: 0.85 FILTERS NOTHING" in output
    assert "caption and caption: 0.85 filters" in output
    assert output.index("80 captions of 40 images") > output.index("captions least similar to their images")
    assert lines[: len(report["findings"])] == report["findings"], "what is printed stands in the report"


def test_the_plots_are_drawn_and_say_whose_they_are(store, monkeypatch):
    """Three plots, each with teacher and data as its title."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    titles, suptitle = [], figure.suptitle

    def record(self, title, **options):
        titles.append(title.replace("\n", " "))
        return suptitle(self, title, **options)

    monkeypatch.setattr(figure, "suptitle", record)
    inspect(store)
    expected = f"teacher: drawn; data: {store.parent.name}/store, 80 captions of 40 images"
    assert titles == [expected] * 3
    for name in ("similarities", "ranks", "thresholds"):
        with Image.open(store / "inspection" / f"{name}.png") as plot:
            assert min(plot.size) > 300
            assert len(plot.convert("RGB").getcolors(1 << 20)) > 20


def test_without_matplotlib_the_numbers_are_there_and_a_line_says_how_to_get_the_plots(store, request, capsys):
    """The report is the same, and the status is 0."""
    with_plots = inspect(store)
    capsys.readouterr()
    request.getfixturevalue("no_matplotlib")
    assert inspect(store) == with_plots
    output = capsys.readouterr().out.splitlines()
    assert output[0].startswith("Verdict: good.")
    assert "pip install 'kdmcse_hf[plots]', then run this command again" in output[-1]


def test_numbers_are_out_before_a_plot_is_begun(store, monkeypatch, capsys):
    """A plot that fails takes nothing with it."""

    def fail(*_):
        raise RuntimeError("no plot")

    monkeypatch.setattr("kdmcse_hf.teacher.plots.plot_similarities", fail)
    assert inspect_teacher.main([str(store), "--num_batches", "5"]) == 1
    printed = capsys.readouterr()
    assert "recommended" in printed.out
    assert "RuntimeError: no plot" in printed.err
    assert json.loads((store / "inspection" / "inspection.json").read_text())["verdict"]["grade"] == "good"


@pytest.mark.usefixtures("no_matplotlib")
def test_the_recommended_threshold_is_that_of_training(store):
    """Whatever batches were looked at, for a feature directory and for a dataset."""
    expected = threshold_by_quantile(load_captions(str(store)), 0.99)
    for flags in ((), ("--batch_size", "8", "--seed", "5")):
        assert inspect(store, "--quantile", "0.99", *flags)["recommended_thresholds"] == expected


@pytest.mark.usefixtures("no_matplotlib")
def test_images_have_their_file_names(store, tmp_path):
    """The worst pairs, the examples and the farthest captions; of other datasets the image_id."""
    report = inspect(store)
    source = FeatureStore.open(store)
    rows = source.rows(range(len(source)))
    cosines = (rows["text_embeds"] * rows["image_embeds"]).sum(1)
    cosines /= np.linalg.norm(rows["text_embeds"], axis=1) * np.linalg.norm(rows["image_embeds"], axis=1)
    worst = np.argsort(cosines)[:20]
    assert [pair["image"] for pair in report["worst_pairs"]] == [f"{rows['image_ids'][row]}.jpg" for row in worst]
    assert [pair["caption"] for pair in report["worst_pairs"]] == [f"caption {row}" for row in worst]
    entries = report["ranks"]["farthest"] + report["examples"]["caption_caption"]
    assert all(entry["image"] == f"{entry['image_id']}.jpg" for entry in entries)
    example = report["examples"]["caption_caption"][0]
    assert example["other_image"] == f"{example['other_image_id']}.jpg"
    named = as_dataset(store).map(lambda row: {"image_id": f"photo {row['image_id']}"}, remove_columns="image_id")
    named.save_to_disk(str(tmp_path / "saved"))
    again = inspect(tmp_path / "saved")
    assert [pair["image"] for pair in again["worst_pairs"]] == [f"photo {rows['image_ids'][row]}" for row in worst]


@pytest.mark.usefixtures("no_matplotlib")
def test_a_dataset_of_the_same_captions_gives_the_same_report(store, tmp_path):
    """As `save_to_disk` writes it; in a parquet file without `image_id` each caption has its own image."""
    dataset = as_dataset(store)
    dataset.save_to_disk(tmp_path / "saved")
    dataset.remove_columns("image_id").to_parquet(tmp_path / "captions.parquet")
    reports = [
        inspect(directory, "--output_dir", str(tmp_path / f"report{number}"))
        for number, directory in enumerate((store, tmp_path / "saved", tmp_path / "captions.parquet"))
    ]
    for name in ("similarities", "filtered", "recommended_thresholds", "images", "retrieval", "overlap", "verdict"):
        assert reports[1][name] == reports[0][name], name
    assert reports[2]["images"] == len(dataset) > reports[0]["images"]
    assert reports[2]["worst_pairs"][0]["image"].startswith("row ")


def test_a_directory_of_parquet_files_still_loads_after_its_inspection(store, tmp_path):
    """`load_dataset` would take plots and report in the directory for its data."""
    (tmp_path / "files").mkdir()
    as_dataset(store).to_parquet(tmp_path / "files" / "captions.parquet")
    inspect(tmp_path / "files", "--output_dir", str(tmp_path / "elsewhere"))
    assert inspect_teacher.main([str(tmp_path / "files"), "--num_batches", "5"]) == 0
    assert (tmp_path / "files-inspection" / "inspection.json").is_file()
    assert len(load_captions(str(tmp_path / "files"))) == 80


@pytest.mark.usefixtures("no_matplotlib")
def test_features_of_one_kind_get_a_sentence(store, tmp_path, capsys):
    """Images alone or captions alone end with status 0 and say what cannot be told."""
    source = FeatureStore.open(store)
    rows = source.rows(range(len(source)))
    images = write_directory(tmp_path / "images", None, rows["image_embeds"], rows["image_ids"])
    assert inspect(images)["verdict"]["grade"] is None
    output = capsys.readouterr().out
    assert output.startswith("Verdict: not judged. There are image features and no caption features")
    assert "no plots were drawn" in output
    as_dataset(store).remove_columns("image_embeds").save_to_disk(str(tmp_path / "captions"))
    report = inspect(tmp_path / "captions")
    assert list(report["recommended_thresholds"]) == ["caption_caption"]
    assert "There are caption features and no image features" in capsys.readouterr().out


def test_unusable_input_is_refused(tmp_path, store, capsys):
    """Status 2 and one message."""
    assert inspect_teacher.main([str(tmp_path / "absent")]) == 2
    assert "there is no " in capsys.readouterr().err
    datasets.Dataset.from_dict({"text": ["a dog"]}).to_parquet(tmp_path / "text.parquet")
    assert inspect_teacher.main([str(tmp_path / "text.parquet")]) == 2
    assert "has no column image_embeds, text_embeds" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        inspect_teacher.main([str(store), "--quantile", "2"])
    assert "--quantile: found '2', a finite number above 0 and below 1" in capsys.readouterr().err
    (tmp_path / "taken").write_text("a file")
    assert inspect_teacher.main([str(store), "--output_dir", str(tmp_path / "taken")]) == 2
    assert f"--output_dir {tmp_path / 'taken'} cannot be written to" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        inspect_teacher.main([str(store), "--batch_size", "1"])


@pytest.mark.usefixtures("no_matplotlib")
def test_a_clip_is_useless_before_its_training_and_good_after_it(tmp_path):
    """A real CLIP of two small towers, from drawn images and captions through extraction to the verdict."""
    # The first caption of each image names shape, colour and ground; the others fit many images.
    drawn = tiny_teachers.draw_images(tmp_path / "images", count=60)
    captions = {name: found[0] for name, found in drawn.items()}
    lines = [json.dumps({"file_name": name, "caption": caption}) for name, caption in captions.items()]
    (tmp_path / "images" / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    clip = tiny_teachers.make_teacher("clip", tmp_path / "clip")

    def verdict(name: str) -> dict:
        flags = ["--teacher", str(clip), "--dataset", str(tmp_path / "images"), "--output_dir", str(tmp_path / name)]
        assert extract_features.main(flags) == 0
        return inspect(tmp_path / name)["verdict"]

    assert verdict("before")["grade"] == "useless"
    train_clip(clip, tmp_path / "images", captions)
    assert verdict("after")["grade"] == "good"


def train_clip(directory: pathlib.Path, folder: pathlib.Path, captions: dict[str, str]) -> None:
    """Contrastive training of the saved CLIP on all images and captions at once."""
    model, processor = AutoModel.from_pretrained(directory), AutoProcessor.from_pretrained(directory)
    images = [Image.open(folder / name).convert("RGB") for name in captions]
    inputs = processor(text=list(captions.values()), images=images, padding=True, return_tensors="pt")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(60):
        model(**inputs, return_loss=True).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(directory)
