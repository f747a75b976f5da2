"""The grammar of the demo world: many ways to say one scene, and sentences about more than pictures can show."""

import random

from .scene import Scene, Thing

KIND_WORDS = {
    "ball": ("ball", "sphere", "orb"),
    "box": ("box", "crate", "chest"),
    "house": ("house", "cottage", "cabin"),
    "tree": ("tree", "pine", "fir"),
    "fish": ("fish", "trout", "herring"),
    "car": ("car", "automobile", "sedan"),
    "cup": ("cup", "mug", "tankard"),
    "boat": ("boat", "ship", "vessel"),
    "flower": ("flower", "blossom", "bloom"),
    "bottle": ("bottle", "flask", "carafe"),
}
COLOUR_WORDS = {
    "red": ("red", "crimson", "scarlet"),
    "blue": ("blue", "azure", "sapphire"),
    "green": ("green", "emerald", "jade"),
    "yellow": ("yellow", "golden", "lemon"),
    "purple": ("purple", "violet", "mauve"),
    "orange": ("orange", "amber", "tangerine"),
    "black": ("black", "ebony", "jet"),
    "white": ("white", "ivory", "milky"),
}
SIZE_WORDS = {"small": ("small", "tiny", "little"), "large": ("large", "big", "huge")}
PLACE_WORDS = {
    "night": ("at night", "in the dark", "after sunset"),
    "beach": ("on the beach", "by the sea", "on the sandy shore"),
    "snow": ("in the snow", "on a winter day", "on frozen ground"),
    "meadow": ("in a meadow", "on the grass", "in the countryside"),
}
RELATION_WORDS = {
    "left": ("to the left of", "on the left side of", "just left of"),
    "right": ("to the right of", "on the right side of", "just right of"),
    "above": ("above", "over", "high above"),
    "below": ("below", "under", "underneath"),
    "inside": ("inside", "within", "in the middle of"),
    "around": ("around", "wrapped around", "all around"),
}
CONVERSE = {"left": "right", "above": "below", "inside": "around"}
PAIR_FORMS = (
    "{a} is {relation} {b}",
    "there is {a} {relation} {b}",
    "{relation} {b} there is {a}",
    "you can see {a} {relation} {b}",
    "{a} can be seen {relation} {b}",
    "someone has put {a} {relation} {b}",
    "{a} has been put {relation} {b}",
)
INSIDE_FORMS = ("{b} contains {a}", "{b} holds {a}", "{a} is enclosed by {b}", "{a} is held by {b}")
SINGLE_FORMS = (
    "there is {a}",
    "{a} is all alone",
    "you can see {a}",
    "{a} can be seen",
    "a picture of {a}",
    "nothing but {a}",
    "someone has left {a} here",
)
THING_FORMS = ("{size} {colour} {kind}",) * 3 + ("{size} {kind} that is {colour}", "{size} {kind} painted {colour}")


def caption(scene: Scene, rng: random.Random, detail: float = 1.0, words: random.Random | None = None) -> str:
    """One sentence that says `scene`; sizes and place, the optional detail, are each told with probability `detail`.

    `rng` draws the form (order, active or passive, clauses) and `words` (by default `rng`) among synonyms, so that two
    scenes can be said in one form, and one scene in two forms with the same words.
    """
    words = words or rng
    turned, place_first, contained, form = rng.random() < 0.5, rng.random() < 0.4, rng.random() < 0.4, rng.random()
    place_told = rng.random() < detail
    a = _describe(scene.first, rng, detail, words)
    if scene.second is None:
        text = _at(SINGLE_FORMS, form).format(a=a)
    else:
        b = _describe(scene.second, rng, detail, words)
        contained = contained and scene.relation == "inside"
        relation = CONVERSE[scene.relation] if turned and not contained else scene.relation
        near, far = (b, a) if relation != scene.relation else (a, b)
        said = _at(INSIDE_FORMS if contained else PAIR_FORMS, form)
        text = said.format(a=near, b=far, relation=_word(RELATION_WORDS[relation], words))
    if scene.place and place_told:
        place = _word(PLACE_WORDS[scene.place], words)
        text = f"{place}, {text}" if place_first else f"{text} {place}"
    return sentence(text)


def describe(thing: Thing, rng: random.Random) -> str:
    """A noun phrase with its article and every detail: "a tiny crimson orb", "an orb painted red"."""
    return _describe(thing, rng, 1.0, rng)


def sentence(text: str) -> str:
    """`text` with a capital and a full stop."""
    return text[0].upper() + text[1:] + "."


def _describe(thing: Thing, rng: random.Random, detail: float, words: random.Random) -> str:
    size_told, form = rng.random() < detail, rng.choice(THING_FORMS)
    size = _word(SIZE_WORDS[thing.size], words) if thing.size and size_told else ""
    colour, kind = _word(COLOUR_WORDS[thing.colour], words), _word(KIND_WORDS[thing.kind], words)
    phrase = " ".join(form.format(size=size, colour=colour, kind=kind).split())
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _word(synonyms: tuple[str, ...], rng: random.Random) -> str:
    """The plain word (the first) more often than its synonyms, as in real text."""
    return rng.choice((synonyms[0], *synonyms))


def _at(forms: tuple[str, ...], position: float) -> str:
    return forms[int(position * len(forms))]
