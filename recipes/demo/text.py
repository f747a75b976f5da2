"""Sentences that no picture shows: what things do, what colours are like, what people do with things."""

import random

from .language import COLOUR_WORDS, KIND_WORDS, PLACE_WORDS, caption, describe, sentence
from .scene import COLOURS, KINDS, SIZES, Thing, sample_scene

KIND_FACTS = {
    "ball": ("rolls down the hill", "bounces off the wall", "flies over the fence", "needs some air"),
    "box": ("is full of old books", "has a heavy lid", "is too heavy to lift", "is tied up with string"),
    "house": ("has a new roof", "has four windows", "keeps a family warm", "is for sale"),
    "tree": ("grows by the road", "sways in the wind", "is full of birds", "was planted last year"),
    "fish": ("swims in the pond", "jumps out of the water", "is eaten for dinner", "hides under a rock"),
    "car": ("drives down the road", "is parked in the street", "needs new tyres", "stops at the light"),
    "cup": ("is full of hot tea", "has a broken handle", "warms the hands", "stands on the saucer"),
    "boat": ("sails out of the harbour", "carries the crew", "sinks in the storm", "drops its anchor"),
    "flower": ("opens in the spring", "smells sweet", "is visited by bees", "loses its petals"),
    "bottle": ("is closed with a cork", "is half full of wine", "breaks into pieces", "is filled with oil"),
}
COLOUR_FACTS = {
    "red": ("blood", "a ripe tomato", "a fire engine"),
    "blue": ("a clear sky", "deep water", "a swimming pool"),
    "green": ("fresh leaves", "a frog", "young peas"),
    "yellow": ("the sun", "butter", "ripe corn"),
    "purple": ("a bunch of grapes", "a plum", "lavender"),
    "orange": ("a carrot", "a pumpkin", "a tiger"),
    "black": ("coal", "a crow", "the inside of a chimney"),
    "white": ("a clean sheet", "a swan", "fresh snowflakes"),
}
SIMILE_FORMS = (
    "the {noun} is {word} like {like}",
    "the {noun} is as {word} as {like}",
    "like {like}, the {noun} is {word}",
)
PEOPLE = ("a boy", "a girl", "a woman", "an old man", "a painter", "a teacher", "my sister", "the neighbour")
DEEDS = (
    ("looks at", "is looked at by"),
    ("buys", "is bought by"),
    ("draws", "is drawn by"),
    ("finds", "is found by"),
    ("remembers", "is remembered by"),
    ("dreams of", "is dreamt of by"),
)


def wide_sentence(rng: random.Random) -> str:
    """One sentence about the life of things, the look of colours, or people."""
    return sentence(rng.choice((_fact, _simile, _deed))(rng))


def corpus(size: int, rng: random.Random) -> list[str]:
    """`size` different sentences: half of them say scenes that were never drawn, half go beyond scenes."""
    sentences: dict[str, None] = {}
    while len(sentences) < size:
        scene_like = len(sentences) % 2 == 0
        sentences[caption(sample_scene(rng), rng, detail=0.7) if scene_like else wide_sentence(rng)] = None
    return list(sentences)


def _thing(rng: random.Random) -> Thing:
    return Thing(rng.choice(KINDS), rng.choice(COLOURS), rng.choice(SIZES))


def _fact(rng: random.Random) -> str:
    thing = _thing(rng)
    text = f"{describe(thing, rng)} {rng.choice(KIND_FACTS[thing.kind])}"
    return f"{text} {rng.choice(PLACE_WORDS[rng.choice(list(PLACE_WORDS))])}" if rng.random() < 0.3 else text


def _simile(rng: random.Random) -> str:
    colour, kind = rng.choice(COLOURS), rng.choice(KINDS)
    word, noun, like = rng.choice(COLOUR_WORDS[colour]), rng.choice(KIND_WORDS[kind]), rng.choice(COLOUR_FACTS[colour])
    return rng.choice(SIMILE_FORMS).format(noun=noun, word=word, like=like)


def _deed(rng: random.Random) -> str:
    person, thing, (active, passive) = rng.choice(PEOPLE), describe(_thing(rng), rng), rng.choice(DEEDS)
    return f"{person} {active} {thing}" if rng.random() < 0.5 else f"{thing} {passive} {person}"
