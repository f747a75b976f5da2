"""Draws scenes of the demo world as small pictures."""

import random

from PIL import Image, ImageDraw

from .scene import Scene, Thing

SIDE = 64
SHARPNESS = 2  # drawn larger, then scaled down for smooth edges
LINE = (95, 95, 95)
RGB = {
    "red": (215, 25, 35),
    "blue": (35, 75, 225),
    "green": (20, 150, 45),
    "yellow": (250, 220, 30),
    "purple": (135, 40, 170),
    "orange": (250, 130, 15),
    "black": (15, 15, 15),
    "white": (252, 252, 252),
}
GROUNDS = {  # sky, ground
    None: ((225, 225, 228), (225, 225, 228)),
    "night": ((45, 50, 85), (60, 65, 100)),
    "beach": ((185, 225, 245), (235, 215, 165)),
    "snow": ((200, 210, 225), (242, 246, 250)),
    "meadow": ((205, 232, 250), (165, 210, 130)),
}
RADII = {"small": 7, None: 11, "large": 15}
SPOTS = {"left": ((17, 35), (47, 35)), "above": ((32, 16), (32, 48)), "inside": ((32, 32), (32, 32))}
# Outlines in a square from -1 to 1, y down.
POLYGONS = {
    "house": [(-0.9, 1), (-0.9, -0.1), (0, -1), (0.9, -0.1), (0.9, 1)],
    "tree": [(-0.15, 1), (-0.15, 0.6), (-0.8, 0.6), (0, -1), (0.8, 0.6), (0.15, 0.6), (0.15, 1)],
    "cup": [(-0.9, -0.8), (0.9, -0.8), (0.55, 1), (-0.55, 1)],
    "boat": [(-1, 0.3), (-0.1, 0.3), (-0.1, -1), (0.7, 0.1), (0.05, 0.1), (0.05, 0.3), (1, 0.3), (0.6, 1), (-0.6, 1)],
    "bottle": [(-0.18, -1), (0.18, -1), (0.18, -0.4), (0.5, 0), (0.5, 1), (-0.5, 1), (-0.5, 0), (-0.18, -0.4)],
    "car": [(-1, 0.6), (-1, 0), (-0.6, 0), (-0.35, -0.6), (0.4, -0.6), (0.65, 0), (1, 0.1), (1, 0.6)],
    "fish": [(-1, -0.6), (-0.45, -0.1), (0.2, -0.5), (1, 0), (0.2, 0.5), (-0.45, 0.1), (-1, 0.6)],
    "box": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
}


def draw(scene: Scene, rng: random.Random) -> Image.Image:
    """The picture (RGB, 64 x 64) of `scene`; places of things vary a little with `rng`."""
    sky, ground = GROUNDS[scene.place]
    image = Image.new("RGB", (SIDE * SHARPNESS,) * 2, sky)
    pen = ImageDraw.Draw(image)
    pen.rectangle([0, SIDE * SHARPNESS * 0.6, SIDE * SHARPNESS, SIDE * SHARPNESS], fill=ground)
    if scene.second is None:
        _draw_thing(pen, scene.first, (32, 34), RADII[scene.first.size], rng)
    else:
        here, there = SPOTS[scene.relation]
        around = 26 if scene.relation == "inside" else RADII[scene.second.size]
        _draw_thing(pen, scene.second, there, around, rng)
        _draw_thing(pen, scene.first, here, RADII[scene.first.size], rng)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _draw_thing(pen: ImageDraw.ImageDraw, thing: Thing, spot: tuple, radius: float, rng: random.Random) -> None:
    x, y = (SHARPNESS * (place + rng.uniform(-2, 2)) for place in spot)
    radius = SHARPNESS * radius

    def disc(dx: float, dy: float, share: float, fill: tuple) -> None:
        cx, cy, r = x + dx * radius, y + dy * radius, share * radius
        pen.ellipse([cx - r, cy - r, cx + r, cy + r], fill=fill, outline=LINE, width=SHARPNESS)

    colour = RGB[thing.colour]
    if thing.kind == "ball":
        disc(0, 0, 1, colour)
    elif thing.kind == "flower":
        for dx, dy in ((0, -0.55), (0.52, -0.17), (0.32, 0.45), (-0.32, 0.45), (-0.52, -0.17)):
            disc(dx, dy, 0.45, colour)
        disc(0, 0, 0.3, LINE)
    else:
        if thing.kind == "cup":
            disc(0.75, 0, 0.45, LINE)
        outline = [(x + dx * radius, y + dy * radius) for dx, dy in POLYGONS[thing.kind]]
        pen.polygon(outline, fill=colour, outline=LINE, width=SHARPNESS)
    if thing.kind == "car":
        disc(-0.5, 0.6, 0.3, LINE)
        disc(0.5, 0.6, 0.3, LINE)
