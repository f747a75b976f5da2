"""What the replica is made of: captions outside all STS sets, a teacher with a modality gap, and its statistics."""

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats


def embedded(seed: int = 0, count: int = 600, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings of captions, and of what other captions of the same image say, with a common part."""
    generator = np.random.default_rng(seed)
    topics = generator.standard_normal((count, width)) + 0.6 * generator.standard_normal(width)
    views = topics + 0.5 * generator.standard_normal((2, count, width))
    return tuple(views / np.linalg.norm(views, axis=-1, keepdims=True))


class TestTheOverlap:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("A dog 's ball is n't red .", "a dog's ball is not red"),
            ("A man , in Zürich", "a man in Zurich."),
            ("Two dogs -lrb- black -rrb- run", "Two dogs (black) run!"),
            ("A t-shirt", "a T shirt"),
        ],
    )
    def test_case_and_tokenisation_do_not_hide_a_sentence(self, first, second):
        from reproduction.overlap import normalised

        assert normalised(first) == normalised(second)

    def test_another_sentence_is_another(self):
        from reproduction.overlap import normalised, without

        assert normalised("a dog runs") != normalised("a dog run")
        assert without(["A dog runs.", "A cat runs."], {normalised("a dog runs")}) == ["A cat runs."]

    def test_no_caption_that_is_kept_is_a_sentence_of_an_sts_set(self, shared):
        """Against a plain search in the raw text of all files of the STS sets, in lower case."""
        from reproduction.make_replica import CAPTIONS, IMAGES, choose
        from reproduction.overlap import sts_sentences

        data = shared / "data"
        chosen, facts = choose(data / "captions" / "flickr8k.jsonl", sts_sentences(data / "senteval"), 0)
        files = [*(data / "senteval" / "STS").rglob("*.csv"), *(data / "senteval" / "STS").rglob("STS.input*")]
        files += list((data / "senteval" / "SICK").glob("*.txt"))
        cells = {
            cell.strip().removesuffix(".").strip()
            for path in files
            for line in path.read_text(encoding="utf-8").lower().split("\n")
            for cell in line.split("\t")
        }
        kept = [caption.lower().strip().removesuffix(".").strip() for _, captions in chosen for caption in captions]
        assert not cells.intersection(kept)
        assert facts["left_out"] > 2000
        assert [len(captions) for _, captions in chosen] == [CAPTIONS] * IMAGES


class TestTheTeacher:
    def test_its_cosines_have_the_means_asked_for_and_pairs_lie_above_others(self):
        from reproduction.stand_in import PAIR_COSINE, RANDOM_COSINE, image_features

        captions, others = embedded()
        images = image_features(captions, others, 0)
        cosines = captions @ images.T
        pairs, rest = np.diag(cosines), cosines[~np.eye(len(cosines), dtype=bool)]
        assert np.linalg.norm(images, axis=1) == pytest.approx(1)
        assert pairs.mean() == pytest.approx(PAIR_COSINE, abs=0.02)
        assert rest.mean() == pytest.approx(RANDOM_COSINE, abs=0.02)
        assert (pairs > np.median(rest)).mean() > 0.8
        # The gap: images resemble each other more than they do any caption.
        assert (images @ images.T)[~np.eye(len(images), dtype=bool)].mean() > pairs.mean() + 0.1

    def test_its_images_are_the_same_for_the_same_seed_alone(self):
        from reproduction.stand_in import image_features

        captions, others = embedded()
        assert np.array_equal(image_features(captions, others, 1), image_features(captions, others, 1))
        assert not np.allclose(image_features(captions, others, 1), image_features(captions, others, 2))

    def test_other_captions_that_say_nothing_are_refused(self):
        from reproduction.stand_in import image_features

        captions, others = embedded()
        with pytest.raises(ValueError, match="no images with these cosines"):
            image_features(captions, np.roll(others, 1, axis=0), 0)

    def test_the_caption_sets_are_what_they_say(self, tmp_path, monkeypatch):
        import datasets
        from reproduction import make_replica

        captions, others = embedded(count=40)
        both = np.stack([captions, others], axis=1).reshape(80, -1)
        monkeypatch.setattr(make_replica, "embed", lambda teacher, sentences, folder: both.astype(np.float16))
        chosen = [(f"{number}.jpg", [f"caption {number}", f"other {number}"]) for number in range(40)]
        make_replica.write_captions(tmp_path, chosen, "teacher", 0)
        sets = {name: datasets.load_from_disk(str(tmp_path / name)) for name in make_replica.SETS}
        image, text = (
            {name: np.array(rows[column][:]) for name, rows in sets.items()}
            for column in ("image_embeds", "text_embeds")
        )
        assert np.allclose(text["captions"], captions, atol=1e-3)
        assert np.array_equal(image["captions-text"], text["captions-text"])
        # Each shuffled row is another row of the true set, whole: image and caption go together.
        rows = [int(np.abs(text["captions"] - row).max(1).argmin()) for row in text["captions-shuffled"]]
        assert sorted(rows) == list(range(40))
        assert not any(row == number for number, row in enumerate(rows))
        assert np.array_equal(image["captions-shuffled"], image["captions"][rows])
        assert all(rows["text"][3] == "caption 3" for rows in sets.values())

    def test_embedding_goes_on_after_an_interruption(self, tmp_path, monkeypatch):
        import tiny
        from reproduction import stand_in

        monkeypatch.setattr(stand_in, "SHARD", 8)
        teacher, sentences = tiny.encoder_directory(tmp_path / "teacher"), tiny.sentences(20)
        whole = stand_in.embed(teacher, sentences, tmp_path / "one")
        stand_in.embed(teacher, sentences[:8], tmp_path / "two")
        assert np.array_equal(stand_in.embed(teacher, sentences, tmp_path / "two"), whole)
        assert np.linalg.norm(whole.astype(np.float32), axis=1) == pytest.approx(1, abs=2e-3)
        with pytest.raises(ValueError, match="holds embeddings of other captions"):
            stand_in.embed(teacher, sentences[:18], tmp_path / "two")

    def test_of_each_image_the_captions_left_are_in_random_order(self, tmp_path):
        from reproduction.make_replica import choose
        from reproduction.overlap import normalised

        lines = [{"image": str(n), "captions": [f"{n} says {word}" for word in "abcde"]} for n in range(50)]
        (tmp_path / "images.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        excluded = {normalised(f"{n} says {word}") for n, word in [(0, "a"), (1, "a"), (1, "b")]}
        chosen, facts = choose(tmp_path / "images.jsonl", excluded, 0)
        names = dict(chosen)
        assert "1" not in names, "three captions are too few"
        assert sorted(names["0"]) == ["0 says b", "0 says c", "0 says d", "0 says e"]
        assert facts == {"captions": 250, "left_out": 3, "images": 50, "images_with_captions_left": 49}
        assert len({captions[0][-1] for _, captions in chosen}) == 5


class TestTheDifferences:
    def test_both_tests_against_their_formulas(self):
        from reproduction.differences import difference

        first, second = {0: 70.0, 1: 72.0, 2: 71.0, 3: 75.0}, {0: 69.0, 1: 70.5, 2: 71.0, 3: 73.0, 9: 0.0}
        found = difference(first, second)
        gaps = np.array([1.0, 1.5, 0.0, 2.0])
        error = gaps.std(ddof=1) / 2
        assert (found["mean"], found["n"]) == (pytest.approx(gaps.mean()), 4)
        assert found["p"] == pytest.approx(2 * stats.t.sf(gaps.mean() / error, 3))
        reach = stats.t.ppf(0.975, 3) * error
        assert found["interval"] == pytest.approx([gaps.mean() - reach, gaps.mean() + reach])
        a, b = (np.var(list(runs.values())[:4], ddof=1) / 4 for runs in (first, second))
        freedom = (a + b) ** 2 / (a**2 / 3 + b**2 / 3)
        assert found["welch_p"] == pytest.approx(2 * stats.t.sf(gaps.mean() / math.sqrt(a + b), freedom))

    @pytest.mark.parametrize("runs", [({0: 1.0}, {0: 2.0}), ({0: 1.0, 1: 2.0}, {0: 2.0, 1: 3.0})])
    def test_no_test_is_made_up_where_there_is_none(self, runs):
        from reproduction.differences import difference

        found = difference(*runs)
        assert found["mean"] == -1
        assert found["p"] is found["interval"] is found["least"] is None

    def test_seeds_that_do_not_meet_are_refused(self):
        from reproduction.differences import difference

        with pytest.raises(ValueError, match="needs a seed that both have"):
            difference({0: 1.0}, {1: 1.0})

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.randoms(use_true_random=False))
    @settings(max_examples=60, deadline=None)
    def test_holm_by_its_definition(self, p_values, shuffle):
        """Reject in order of p while p <= 0.05 / (number left); an adjusted p says at which level that stops."""
        from reproduction.differences import holm

        adjusted = holm(p_values)
        rejected, left = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
        while left and p_values[left[0]] * len(left) <= 0.05:
            rejected.add(left.pop(0))
        assert {index for index, value in enumerate(adjusted) if value <= 0.05} == rejected
        order = list(range(len(p_values)))
        shuffle.shuffle(order)
        assert holm([p_values[index] for index in order]) == pytest.approx([adjusted[index] for index in order])

    @pytest.mark.parametrize("seeds", [3, 11])
    def test_the_least_difference_is_found_in_four_of_five_experiments(self, seeds):
        """By simulation: 20,000 experiments with the true difference, each tested by scipy."""
        from reproduction.differences import least_difference, seeds_needed

        true = least_difference(1.4, seeds)
        gaps = np.random.default_rng(0).normal(true, 1.4, (20_000, seeds))
        assert (stats.ttest_1samp(gaps, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)
        assert seeds_needed(true * 1.001, 1.4) == seeds


class TestTheParts:
    def test_genres_and_overlap_of_real_files(self, shared):
        """The counts of FACTS: 625, 500 and 254 pairs; with word-for-word overlap the parts add up."""
        from reproduction.parts import parts

        from kdmcse_hf.evaluation.sts import load_sts_task

        data = shared / "data"
        pairs = load_sts_task("STS-B", str(data / "senteval"))["STS-B"]
        found = parts("STS-B", pairs, data / "senteval", data / "captions")
        assert [len(found[f"STS-B {genre}"]) for genre in ("captions", "news", "forums")] == [625, 500, 254]
        assert len(found["STS-B without overlap"]) + len(found["STS-B overlap alone"]) == len(pairs) == 1379
        lines = (data / "captions" / "flickr30k_random_captions.txt").read_text(encoding="utf-8").splitlines()
        some = random.Random(0).sample(lines, 50)
        made = [(caption.upper(), "nothing of the kind", 1.0) for caption in some]
        assert parts("STS12", made, data / "senteval", data / "captions") == {"STS12 without overlap": []}
