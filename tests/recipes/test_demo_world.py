"""The demo world: deterministic, in English that fits its scenes, scored by meaning; its models load as any other."""

import json
import random
from dataclasses import replace

import pytest
import torch
from scipy.stats import spearmanr

pytest.importorskip("PIL")

from demo.language import COLOUR_WORDS, KIND_WORDS, SIZE_WORDS, caption  # noqa: E402
from demo.scene import Scene, Thing, gold_score, sample_scene  # noqa: E402
from demo.score import read_pairs, spearman  # noqa: E402
from demo.sts import word_overlap  # noqa: E402
from demo.world import MANIFEST, WorldSettings, build_world, read_picture, write_data  # noqa: E402

TINY = WorldSettings(
    pictures=140, held_out=20, sentences=400, dev_pairs=100, test_pairs=100, student_steps=10, teacher_steps=3
)
BALL, HOUSE = Thing("ball", "red", "small"), Thing("house", "blue", "large")
SCENE = Scene(BALL, HOUSE, "left", "beach")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo") / "world"
    build_world(directory, TINY)
    return directory


def test_same_settings_write_the_same_bytes_and_another_seed_others(tmp_path):
    written = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        write_data(tmp_path / name, replace(TINY, seed=seed))
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        assert len(files) == TINY.pictures + 4
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    assert all(one != other for one, other in zip(written[0][-4:], written[2][-4:], strict=True))


def test_gold_score_of_hand_made_scenes():
    swapped = replace(SCENE, first=HOUSE, second=BALL)
    recoloured = replace(SCENE, first=replace(BALL, colour="green"))
    elsewhere = Scene(Thing("fish", "black", None), Thing("tree", "white", None), "above", "snow")
    assert gold_score(SCENE, SCENE) == pytest.approx(5)
    assert gold_score(SCENE, elsewhere) == 0
    # 5 (1 - 0.2)^3: the things and the place agree, how the things stand does not; a colour is 0.35 of half of 0.7.
    assert gold_score(SCENE, swapped) == pytest.approx(5 * 0.8**3)
    assert gold_score(SCENE, recoloured) == pytest.approx(5 * (1 - 0.35 * 0.35) ** 3)
    assert gold_score(SCENE, Scene(BALL, place="beach")) < gold_score(SCENE, swapped)


def test_gold_score_is_symmetric_and_5_only_for_the_same_scene():
    rng = random.Random(0)
    scenes = [sample_scene(rng) for _ in range(60)]
    for one in scenes:
        for other in scenes:
            assert gold_score(one, other) == pytest.approx(gold_score(other, one))
            assert (gold_score(one, other) > 4.999) == (one == other)


def test_captions_name_what_is_there_and_nothing_else():
    rng = random.Random(0)
    for _ in range(500):
        scene = sample_scene(rng)
        words = caption(scene, rng, detail=0.7).lower().strip(".").replace(",", "").split()
        things = [thing for thing in (scene.first, scene.second) if thing]
        for attribute, names in (("kind", KIND_WORDS), ("colour", COLOUR_WORDS), ("size", SIZE_WORDS)):
            said = sorted(name for name, synonyms in names.items() for word in words if word in synonyms)
            there = sorted(value for thing in things if (value := getattr(thing, attribute)))
            assert said == there if attribute != "size" else set(said) <= set(there), (scene, words)


def test_one_scene_has_many_captions():
    assert len({caption(SCENE, random.Random(seed)) for seed in range(200)}) > 190


def test_sts_pairs_are_held_out_and_say_more_than_their_words(world):
    dev, test = read_pairs(world / "sts-dev.tsv"), read_pairs(world / "sts-test.tsv")
    sentences = [{text for pair in pairs for text in pair[:2]} for pairs in (dev, test)]
    seen = set((world / "corpus.txt").read_text(encoding="utf-8").splitlines())
    for line in (world / "pictures" / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
        seen.update(json.loads(line)["captions"])
    assert not sentences[0] & sentences[1]
    assert not seen & (sentences[0] | sentences[1])
    scores = [score for *_, score in dev + test]
    assert min(scores) < 0.5
    assert scores.count(5) == len(scores) / 5
    overlaps = [word_overlap(one, other) for one, other, _ in dev + test]
    assert spearmanr(overlaps, scores).statistic < 0.5


def test_student_and_teacher_load_through_auto_classes(world, recwarn):
    from transformers import AutoModel, AutoProcessor, AutoTokenizer, BertModel, CLIPModel

    student, tokenizer = AutoModel.from_pretrained(world / "student"), AutoTokenizer.from_pretrained(world / "student")
    assert isinstance(student, BertModel)
    assert student.pooler is not None
    ids = tokenizer("A red ball.")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "a", "red", "ball", ".", "[SEP]"]
    assert tokenizer.mask_token == "[MASK]"

    teacher, processor = AutoModel.from_pretrained(world / "teacher"), AutoProcessor.from_pretrained(world / "teacher")
    assert isinstance(teacher, CLIPModel)
    picture = read_picture(world / "pictures" / "00000.png")
    texts = ["A red ball.", "A red ball on the left side of a house."]
    inputs = processor(text=texts, images=[picture], padding=True, return_tensors="pt")
    with torch.no_grad():
        outputs = teacher.eval()(**inputs)
        alone = teacher.get_text_features(**processor(text=texts[:1], return_tensors="pt")).pooler_output
    assert outputs.logits_per_image.shape == (1, 2)
    # The end of the text is found at [SEP], wherever padding follows.
    torch.testing.assert_close(torch.nn.functional.normalize(alone), outputs.text_embeds[:1], rtol=1e-4, atol=1e-5)
    assert -100 <= spearman(world / "student", read_pairs(world / "sts-dev.tsv")) <= 100


def test_a_whole_world_is_used_again_and_a_broken_or_other_one_rebuilt(world, monkeypatch):
    manifest = json.loads((world / MANIFEST).read_text(encoding="utf-8"))
    assert build_world(world, TINY) == (manifest, True)

    class Rebuilt(Exception):
        pass

    def stop(*_):
        raise Rebuilt

    monkeypatch.setattr("demo.world.write_data", stop)
    with pytest.raises(Rebuilt):
        build_world(world, replace(TINY, seed=7))
    assert build_world(world, TINY)[1], "an interrupted build must leave the whole world alone"
    (world / MANIFEST).unlink()
    with pytest.raises(Rebuilt):
        build_world(world, TINY)
