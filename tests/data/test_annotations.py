"""Captions as text from published annotation files, how many images a set holds, and one caption of each."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from published_sets import write_coco, write_flickr30k
from tiny_teachers import make_teacher

from kdmcse_hf.commands import extract_features
from kdmcse_hf.commands.train import read_captions
from kdmcse_hf.data.captions import Captions, load_captions
from kdmcse_hf.data.image_sets import KNOWN_SIZES, check_image_count, one_caption_an_image

TRAIN, KARPATHY_TRAIN, OTHERS = 6, 5, 2


@pytest.fixture(scope="module")
def flickr(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flickr30k")
    return folder, write_flickr30k(folder, TRAIN, KARPATHY_TRAIN, OTHERS)


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    return folder, write_coco(folder, TRAIN, OTHERS)


def by_image(captions) -> list[list[str]]:
    """The captions of each image, images in the order of their numbers."""
    rows = captions.rows(range(len(captions)))
    found: dict[int, list[str]] = {}
    for image, text in zip(rows["image_ids"].tolist(), rows["text"], strict=True):
        found.setdefault(image, []).append(text)
    return [found[image] for image in sorted(found)]


NO_TRAINING = '{"images": [{"split": "val", "filename": "a", "sentences": []}]}'


class TestAnnotationFiles:
    def test_entities_gives_its_training_split(self, flickr):
        folder, captions = flickr
        found = load_captions(str(folder / "flickr30k_entities"), ())
        assert (found.num_images, len(found)) == (TRAIN, 5 * TRAIN)
        assert by_image(found) == list(captions.values())

    def test_karpathys_file_gives_its_own_smaller_one(self, flickr):
        folder, captions = flickr
        found = load_captions(str(folder / "dataset_flickr30k.json"), ())
        assert by_image(found) == list(captions.values())[:KARPATHY_TRAIN]

    def test_a_token_file_knows_no_splits(self, flickr):
        folder, _ = flickr
        assert load_captions(str(folder / "results_20130124.token"), ()).num_images == TRAIN + 2 * OTHERS

    def test_cocos_captions_and_karpathys_train_split_are_the_same_images(self, coco):
        folder, captions = coco
        found = load_captions(str(folder / "annotations" / "captions_train2014.json"), ())
        assert by_image(found) == list(captions.values())
        assert by_image(load_captions(str(folder / "dataset_coco.json"), ())) == by_image(found)

    def test_a_plain_list_has_an_image_a_line(self, tmp_path):
        (tmp_path / "flickr_random_captions.txt").write_text("a dog\na cat")
        found = load_captions(str(tmp_path / "flickr_random_captions.txt"), ())
        assert (found.num_images, by_image(found)) == (2, [["a dog"], ["a cat"]])

    @pytest.mark.parametrize("lines", ['{"text": "a"}\n{"text": "b"}\n', '[{"text": "a"}, {"text": "b"}]'])
    def test_a_table_of_rows_in_json_is_no_annotation_file(self, lines, tmp_path):
        (tmp_path / "captions.json").write_text(lines)
        assert by_image(load_captions(str(tmp_path / "captions.json"), ())) == [["a"], ["b"]]

    def test_blank_captions_are_left_out_and_spaces_made_single(self, tmp_path):
        content = {"images": [{"id": 3, "file_name": "x.jpg"}], "annotations": []}
        for caption in ("A  dog\n runs ", " ", "A cat"):
            content["annotations"].append({"image_id": 3, "caption": caption})
        (tmp_path / "captions.json").write_text(json.dumps({"info": {}, **content}))
        assert by_image(load_captions(str(tmp_path / "captions.json"), ())) == [["A dog runs", "A cat"]]

    def test_an_objective_that_reads_features_is_told_how_to_make_them(self, flickr):
        with pytest.raises(ValueError, match=r"needs the teacher's features.*kdmcse extract-features"):
            load_captions(str(flickr[0] / "flickr30k_entities"), ("image_embeds",))

    @pytest.mark.parametrize(
        ("files", "name", "message"),
        [
            ({}, "absent.token", "multimodal_dataset: .*absent.token: no such file"),
            ({"x.token": "no tab"}, "x.token", "multimodal_dataset: .*line 1: 'no tab'"),
            ({"x.json": '{"images": ['}, "x.json", "multimodal_dataset: .*is not JSON"),
            (
                {"x.json": '{"images": [{"split": "val", "filename": "a", "sentences": []}]}'},
                "x.json",
                "no captions of its training split",
            ),
            ({"x.json": '{"images": [{"split": "train"}]}'}, "x.json", "neither COCO's captions"),
            ({"Sentences/1.txt": "a dog"}, ".", "split train: no such file"),
        ],
    )
    def test_unusable_files_are_one_clear_error(self, files, name, message, tmp_path):
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(content)
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            load_captions(str(tmp_path / name), ())


class TestNumberOfImages:
    def test_the_published_confusion_is_named(self, monkeypatch):
        warnings = []
        monkeypatch.setattr("kdmcse_hf.data.image_sets.logger.warning", warnings.append)
        karpathy = SimpleNamespace(num_images=29_000)
        check_image_count(karpathy, "features", 29_783, strict=False)
        assert "features has 29,000 images, expected_images is 29,783" in warnings[0]
        assert f"29,000 is {KNOWN_SIZES[29_000]}; 29,783 is {KNOWN_SIZES[29_783]}" in warnings[0]

    def test_a_strict_run_refuses_it(self):
        with pytest.raises(ValueError, match=r"has 5 images, expected_images is 6\..*strict_data refuses"):
            check_image_count(SimpleNamespace(num_images=5), "features", 6, strict=True)

    @pytest.mark.parametrize("expected", [None, 5])
    def test_the_right_number_is_no_matter(self, expected, monkeypatch):
        monkeypatch.setattr("kdmcse_hf.data.image_sets.logger.warning", pytest.fail)
        check_image_count(SimpleNamespace(num_images=5), "features", expected, strict=True)


class TestOneCaptionAnImage:
    def test_each_image_keeps_one_of_its_own(self, flickr):
        folder, captions = flickr
        everything = load_captions(str(folder / "flickr30k_entities"), ())
        chosen = by_image(one_caption_an_image(everything))
        assert len(chosen) == TRAIN
        assert all(
            len(texts) == 1 and texts[0] in captions[name] for name, texts in zip(captions, chosen, strict=True)
        )
        assert chosen == by_image(one_caption_an_image(everything)), "the same in every run"
        assert chosen != by_image(one_caption_an_image(everything, seed=1))

    def test_it_is_the_one_that_the_extraction_takes(self, flickr, tmp_path):
        """So that SimCSE on the caption list and MCSE on the images' features read the same sentences."""
        folder, _ = flickr
        teacher = make_teacher("clip", tmp_path / "teacher")
        words = ["--dataset", str(folder / "flickr30k_entities"), "--image_dir", str(folder / "flickr30k-images")]
        words += ["--split", "train", "--teacher", str(teacher), "--num_workers", "1"]
        assert extract_features.main([*words, "--captions", "one", "--output_dir", str(tmp_path / "one")]) == 0
        assert extract_features.main([*words, "--output_dir", str(tmp_path / "all")]) == 0
        extracted = by_image(load_captions(str(tmp_path / "one")))
        assert by_image(one_caption_an_image(load_captions(str(folder / "flickr30k_entities"), ()))) == extracted
        everything = load_captions(str(tmp_path / "all"))
        assert by_image(one_caption_an_image(everything)) == extracted
        subset = one_caption_an_image(everything)
        assert (subset.image_dim, subset.num_images) == (24, TRAIN)
        assert subset.rows([1, 0])["image_embeds"].shape == (2, 24)

    def test_rows_of_one_image_need_not_stand_together(self):
        captions = Captions(tiny.captions(12, images=4), "captions")
        rows = one_caption_an_image(captions).indices
        expected = []
        for image in range(4):
            places = np.flatnonzero(captions.image_ids == image)
            expected.append(places[random.Random(f"0:{image}").randrange(len(places))])
        assert rows.tolist() == sorted(expected)


@pytest.mark.parametrize("kind", ["entities", "one caption", "too few"])
def test_the_command_reads_captions_as_its_keys_say(kind, flickr, monkeypatch):
    warnings = []
    monkeypatch.setattr("kdmcse_hf.data.image_sets.logger.warning", warnings.append)
    data = SimpleNamespace(
        multimodal_dataset=str(flickr[0] / "flickr30k_entities"),
        captions_per_image="one" if kind == "one caption" else "all",
        expected_images=TRAIN + (kind == "too few"),
        strict_data=False,
    )
    captions = read_captions(data, ())
    assert len(captions) == (TRAIN if kind == "one caption" else 5 * TRAIN)
    assert len(warnings) == (kind == "too few")
