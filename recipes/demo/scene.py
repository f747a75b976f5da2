"""Scenes of the demo world: one or two things, their relation and place; and how alike two scenes are."""

import random
from dataclasses import dataclass, replace

KINDS = ("ball", "box", "house", "tree", "fish", "car", "cup", "boat", "flower", "bottle")
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "white")
SIZES = ("small", "large", None)
PLACES = ("night", "beach", "snow", "meadow", None)
RELATIONS = ("left", "above", "inside")
CONTAINERS = ("box", "house", "cup")


@dataclass(frozen=True)
class Thing:
    """One thing: its `kind`, its `colour`, and its `size` (None: neither small nor large)."""

    kind: str
    colour: str
    size: str | None


@dataclass(frozen=True)
class Scene:
    """`first` "left" of, "above" or "inside" `second` (both None: alone), at `place` (None: nowhere in particular)."""

    first: Thing
    second: Thing | None = None
    relation: str | None = None
    place: str | None = None


def sample_scene(rng: random.Random) -> Scene:
    """Draws a scene; two things in it always differ in kind and colour, and only containers hold others."""
    kinds, colours = rng.sample(KINDS, 2), rng.sample(COLOURS, 2)
    first, second = (Thing(kind, colour, rng.choice(SIZES)) for kind, colour in zip(kinds, colours, strict=True))
    place = rng.choice(PLACES)
    if rng.random() < 0.2:
        return Scene(first, place=place)
    relation = rng.choice(RELATIONS)
    if relation == "inside":
        second = replace(second, kind=rng.choice([kind for kind in CONTAINERS if kind != first.kind]), size="large")
        first = replace(first, size="small")
    return Scene(first, second, relation, place)


def change(scene: Scene, rng: random.Random) -> Scene:
    """One change of meaning: another kind, colour, size or place, the two things or their colours swapped."""
    first, second = scene.first, scene.second
    ways = ["kind", "colour", "size", "place"] + (["swap", "swap colours"] if second else [])
    way = rng.choice(ways)
    if way == "swap":
        return replace(scene, first=second, second=first)
    if way == "swap colours":
        first, second = replace(first, colour=second.colour), replace(second, colour=first.colour)
        return replace(scene, first=first, second=second)
    if way == "place":
        return replace(scene, place=_other(PLACES, scene.place, rng))
    part = rng.choice(["first", "second"]) if second else "first"
    thing = getattr(scene, part)
    values = {"kind": KINDS, "colour": COLOURS, "size": SIZES}[way]
    return replace(scene, **{part: replace(thing, **{way: _other(values, getattr(thing, way), rng)})})


def _other(values: tuple, value: str | None, rng: random.Random) -> str | None:
    return rng.choice([other for other in values if other != value])


def gold_score(one: Scene, other: Scene) -> float:
    """Score 0..5 of two scenes, 5 for the same one; cubed, so that one wrong colour costs more than a point."""
    return 5 * likeness(one, other) ** 3


def likeness(one: Scene, other: Scene) -> float:
    """Share 0..1 of two scenes that agrees: things 0.7, relation 0.2, place 0.1, at the best pairing of things."""
    if one.second is None and other.second is None:
        return 0.9 * _thing_likeness(one.first, other.first) + 0.1 * (one.place == other.place)
    straight = _paired(one.first, other.first) + _paired(one.second, other.second)
    crossed = _paired(one.first, other.second) + _paired(one.second, other.first)
    related = 0.2 * (one.relation is not None and one.relation == other.relation)
    return max(0.35 * straight + related, 0.35 * crossed) + 0.1 * (one.place == other.place)


def _paired(one: Thing | None, other: Thing | None) -> float:
    return _thing_likeness(one, other) if one and other else 0.0


def _thing_likeness(one: Thing, other: Thing) -> float:
    return 0.5 * (one.kind == other.kind) + 0.35 * (one.colour == other.colour) + 0.15 * (one.size == other.size)
