"""Sentence pairs scored by their scenes, chosen so that shared words say little about the score."""

import random
import re

from .language import caption
from .scene import Scene, change, gold_score, sample_scene

Pair = tuple[str, str, float]
LEVELS = 5
SAME_FORM = 0.5  # share of pairs in one form, on every level
SAME_WORDS = (0.8, 0.8, 0.7, 0.4, 0.1)  # share of pairs with the same choice among synonyms, by level


def word_overlap(one: str, other: str) -> float:
    """Share 0..1 of the words of two sentences that stand in both (Jaccard)."""
    words, others = set(re.findall(r"\w+", one.lower())), set(re.findall(r"\w+", other.lower()))
    return len(words & others) / len(words | others)


def sts_pairs(size: int, rng: random.Random, taken: set[str]) -> list[Pair]:
    """`size` pairs (sentence1, sentence2, score 0..5) without a sentence of `taken`, to which theirs are added.

    Scores fall on five levels alike, from unrelated scenes to the same scene. The form of the two sentences has
    nothing to do with the score, and the more alike the scenes are, the more often other words are chosen: another
    meaning often is one changed word, and a paraphrase often shares few.
    """
    pairs: list[Pair] = []
    while len(pairs) < size:
        pair = _pair(len(pairs) % LEVELS, rng)
        if pair[0] != pair[1] and not taken & set(pair[:2]):
            taken.update(pair[:2])
            pairs.append(pair)
    rng.shuffle(pairs)
    return pairs


def _pair(level: int, rng: random.Random) -> Pair:
    scene, other = _scenes(level, rng)
    form, words = rng.random(), rng.random()
    other_form = form if rng.random() < SAME_FORM else rng.random()
    other_words = words if rng.random() < SAME_WORDS[level] else rng.random()
    return _say(scene, form, words), _say(other, other_form, other_words), round(gold_score(scene, other), 2)


def _say(scene: Scene, form: float, words: float) -> str:
    return caption(scene, random.Random(form), words=random.Random(words))


def _scenes(level: int, rng: random.Random) -> tuple[Scene, Scene]:
    """Two scenes whose score is on the wanted level: in [level, level + 1), the last up to 5."""
    while True:
        scene = sample_scene(rng)
        other = sample_scene(rng) if level == 0 else scene if level == LEVELS - 1 else _changed(scene, rng)
        if min(int(gold_score(scene, other)), LEVELS - 1) == level:
            return scene, other


def _changed(scene: Scene, rng: random.Random) -> Scene:
    for _ in range(rng.randint(1, 4)):
        scene = change(scene, rng)
    return scene
