"""Draws the paper theatre: signed-distance shapes, six puppets, eighteen backdrops, frames of a story.

`scale`: the same picture that many times as wide and as high; constants are in pixels of a picture of WIDTH x HEIGHT.
"""

from functools import cache, lru_cache

import numpy as np

from memflow_cli.models.theatre.language.vocabulary import SETTINGS
from training.world import (
    FRAMES_PER_CHUNK,
    FRAMES_PER_LATENT,
    HEIGHT,
    LATENTS_PER_CHUNK,
    WIDTH,
    Motion,
    Puppet,
    Story,
    stage,
)

PUPPET_HEIGHT = 0.6 * HEIGHT  # pixels of one puppet unit
GROUND = 114  # pixel row of the puppets' feet
SPRITE_HALF_WIDTH, SPRITE_TOP, SPRITE_BOTTOM = 56, 100, 4  # pixels around a puppet's feet
OUTLINE = 0.04
LID = 0.01  # half of the height of a closed eye

RGB = {
    "red": (214, 40, 40), "orange": (245, 135, 30), "yellow": (250, 215, 50), "green": (60, 165, 75),
    "blue": (45, 95, 215), "purple": (130, 60, 175), "pink": (250, 130, 180), "white": (238, 236, 230),
}  # fmt: skip
INK, EYE, CREAM, BEAK, EAR = (60, 45, 50), (25, 22, 30), (250, 248, 242), (240, 160, 40), (245, 170, 190)


# -- shapes: signed distances over a grid (u right, v up), negative inside


def ellipse(u, v, cx, cy, a, b):
    return (np.sqrt(((u - cx) / a) ** 2 + ((v - cy) / b) ** 2) - 1) * min(a, b)


def capsule(u, v, ax, ay, bx, by, radius):
    pu, pv, bu, bv = u - ax, v - ay, bx - ax, by - ay
    along = np.clip((pu * bu + pv * bv) / (bu * bu + bv * bv + 1e-6), 0, 1)
    return np.sqrt((pu - bu * along) ** 2 + (pv - bv * along) ** 2) - radius


def eye(u, v, cx, cy, a, b, closed):
    """An ellipse; closed, the line across it."""
    return capsule(u, v, cx - a + LID, cy, cx + a - LID, cy, LID) if closed else ellipse(u, v, cx, cy, a, b)


def box(u, v, cx, cy, a, b):
    return np.maximum(np.abs(u - cx) - a, np.abs(v - cy) - b)


def polygon(u, v, *corners):
    """Convex, corners in either order."""
    edges = list(zip(corners, (*corners[1:], corners[0]), strict=True))
    sign = 1 if sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in edges) > 0 else -1
    sides = [
        sign * ((u - x0) * (y1 - y0) - (v - y0) * (x1 - x0)) / np.hypot(x1 - x0, y1 - y0)
        for (x0, y0), (x1, y1) in edges
    ]
    return np.maximum.reduce(sides)


# -- puppets


def puppet_shapes(puppet: Puppet, u, v, step: float, wave: float, closed: bool = False):
    """The puppet's shapes, back to front: (signed distance, colour name). Facing right, feet at the origin.

    `closed`: its eyes are.
    """
    if puppet.species == "bird":
        shapes, top, head_x, neck = _bird(u, v, step, wave, closed), 0.9, 0.14, 0.6
    elif puppet.species == "robot":
        shapes, top, head_x, neck = _robot(u, v, step, wave, closed), 0.9, 0.0, 0.575
    else:
        shapes, top, head_x, neck = _animal(puppet.species, u, v, step, wave, closed), 0.9, 0.0, 0.545
    if puppet.accessory == "hat":
        shapes += [
            (box(u, v, head_x, top + 0.01, 0.26, 0.045), "worn"),
            (box(u, v, head_x, top + 0.14, 0.16, 0.14), "worn"),
        ]
    elif puppet.accessory == "scarf":
        shapes += [
            (ellipse(u, v, head_x * 0.6, neck, 0.24, 0.085), "worn"),
            (capsule(u, v, -0.1, neck, -0.15, neck - 0.24, 0.07), "worn"),
        ]
    return shapes


def _bird(u, v, step, wave, closed):
    swing, raised = 0.09 * step, min(wave, 1)
    return [
        (polygon(u, v, (-0.22, 0.42), (-0.5, 0.58), (-0.47, 0.28)), "dark"),
        (capsule(u, v, -0.05, 0.2, -0.05 + swing, 0.03, 0.035), "beak"),
        (capsule(u, v, 0.09, 0.2, 0.09 - swing, 0.03, 0.035), "beak"),
        (ellipse(u, v, 0, 0.42, 0.29, 0.25), "main"),
        (ellipse(u, v, 0.16, 0.74, 0.18, 0.17), "main"),
        (ellipse(u, v, 0.06, 0.36, 0.17, 0.14), "light"),
        (polygon(u, v, (0.32, 0.82), (0.52, 0.72), (0.32, 0.64)), "beak"),
        (capsule(u, v, -0.06, 0.44, -0.26 - 0.06 * raised, 0.42 + 0.36 * wave, 0.085), "dark"),
        (eye(u, v, 0.22, 0.78, 0.04, 0.05, closed), "eye"),
    ]


def _robot(u, v, step, wave, closed):
    swing, raised = 0.09 * step, min(wave, 1)
    return [
        (capsule(u, v, -0.1, 0.2, -0.1 + swing, 0.05, 0.06), "dark"),
        (capsule(u, v, 0.1, 0.2, 0.1 - swing, 0.05, 0.06), "dark"),
        (capsule(u, v, -0.2, 0.48, -0.32, 0.3, 0.06), "dark"),
        (capsule(u, v, 0.2, 0.48, 0.31 + 0.17 * raised, 0.3 + 0.42 * wave, 0.06), "dark"),
        (box(u, v, 0, 0.36, 0.21, 0.2), "main"),
        (box(u, v, 0, 0.36, 0.12, 0.1), "light"),
        (capsule(u, v, 0, 0.88, 0, 1.0, 0.03), "dark"),
        (box(u, v, 0, 0.74, 0.24, 0.16), "main"),
        (box(u, v, 0.04, 0.75, 0.17, 0.09), "eye"),
        (eye(u, v, -0.03, 0.75, 0.04, 0.05, closed), "cream"),
        (eye(u, v, 0.12, 0.75, 0.04, 0.05, closed), "cream"),
        (ellipse(u, v, 0, 1.04, 0.06, 0.06), "beak"),
    ]


def _animal(species, u, v, step, wave, closed):
    swing, raised, shapes = 0.09 * step, min(wave, 1), []
    if species == "fox":
        shapes += [
            (capsule(u, v, -0.15, 0.2, -0.42, 0.36, 0.11), "main"),
            (ellipse(u, v, -0.45, 0.42, 0.1, 0.1), "cream"),
        ]
    elif species == "cat":
        shapes += [
            (capsule(u, v, -0.15, 0.2, -0.38, 0.22, 0.05), "main"),
            (capsule(u, v, -0.38, 0.22, -0.42, 0.52, 0.05), "main"),
        ]
    elif species == "rabbit":
        shapes.append((ellipse(u, v, -0.24, 0.2, 0.1, 0.1), "cream"))
    belly = 0.27 if species == "bear" else 0.19
    shapes += [
        (capsule(u, v, -0.09, 0.16, -0.09 + swing, 0.06, 0.065), "dark"),
        (capsule(u, v, 0.09, 0.16, 0.09 - swing, 0.06, 0.065), "dark"),
        (capsule(u, v, -0.16, 0.42, -0.28, 0.28, 0.06), "dark"),
        (ellipse(u, v, 0, 0.32, belly, 0.23), "main"),
        (ellipse(u, v, 0.04, 0.3, 0.6 * belly, 0.15), "light"),
        (capsule(u, v, 0.15, 0.42, 0.24 + 0.24 * raised, 0.27 + 0.42 * wave, 0.055), "dark"),
    ]
    for side in (-1, 1):
        if species in ("fox", "cat"):
            tip = 1.09 if species == "fox" else 1.04
            shapes.append((polygon(u, v, (side * 0.2, 0.8), (side * 0.17, tip), (side * 0.03, 0.88)), "main"))
        elif species == "rabbit":
            shapes.append((ellipse(u, v, side * 0.1, 1.04, 0.075, 0.2), "main"))
            shapes.append((ellipse(u, v, side * 0.1, 1.04, 0.035, 0.13), "ear"))
        else:
            shapes.append((ellipse(u, v, side * 0.17, 0.9, 0.1, 0.1), "main"))
    shapes.append((ellipse(u, v, 0, 0.73, 0.23, 0.2), "main"))
    if species == "fox":
        shapes.append((polygon(u, v, (0.05, 0.76), (0.36, 0.66), (0.05, 0.57)), "cream"))
        shapes.append((ellipse(u, v, 0.34, 0.665, 0.04, 0.035), "eye"))
    else:
        shapes.append((ellipse(u, v, 0.1, 0.66, 0.1, 0.08), "cream" if species == "cat" else "light"))
        shapes.append((ellipse(u, v, 0.13, 0.69, 0.04, 0.03), "eye"))
    return [*shapes, *((eye(u, v, cx, 0.79, 0.035, 0.05, closed), "eye") for cx in (-0.03, 0.14))]


@lru_cache(maxsize=1_500)
def sprite(
    puppet: Puppet, facing: float, step: float, wave: float, scale: int = 1, closed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A puppet in one pose: premultiplied colour float32 [h, w, 3] in 0..255, and coverage [h, w, 1] in 0..1."""
    half_width, top, bottom, unit = (scale * n for n in (SPRITE_HALF_WIDTH, SPRITE_TOP, SPRITE_BOTTOM, PUPPET_HEIGHT))
    columns = (np.arange(-half_width, half_width, dtype=np.float32) + 0.5) / unit
    rows = (np.arange(top, -bottom, -1, dtype=np.float32) - 0.5) / unit
    u, v = np.meshgrid(columns / np.float32(facing), rows)
    shapes = puppet_shapes(puppet, u, v, step, wave, closed)
    main = np.array(RGB[puppet.colour], np.float32)
    palette = {"main": main, "dark": 0.72 * main, "light": 0.45 * main + 0.55 * 255, "cream": CREAM, "eye": EYE}
    palette |= {"beak": BEAK, "ear": EAR, "worn": RGB[puppet.accessory_colour or "white"]}
    colour = np.full((*u.shape, 3), INK, np.float32)
    for distance, name in shapes:
        colour += _coverage(distance, unit) * (np.asarray(palette[name], np.float32) - colour)
    silhouette = _coverage(np.minimum.reduce([distance for distance, _ in shapes]) - OUTLINE, unit)
    return colour * silhouette, silhouette


def _coverage(distance, pixels: float):
    """Anti-aliased: 1 inside, 0 outside, a ramp one pixel wide between. [..., 1]."""
    return np.clip(0.5 - distance * np.float32(pixels), 0, 1)[..., None].astype(np.float32)


def paste(
    frame: np.ndarray,
    mask: np.ndarray,
    puppet: Puppet,
    motion: Motion,
    t: int,
    scale: int = 1,
    closed: bool = False,
) -> None:
    pose = (float(round(values[t], 3)) for values in (motion.facing, motion.step, motion.wave))
    colour, coverage = sprite(puppet, *pose, scale, closed)
    left = round(float(motion.x[t]) * scale) - SPRITE_HALF_WIDTH * scale
    top = (GROUND - SPRITE_TOP) * scale - round(float(motion.lift[t]) * scale)
    y0, y1 = max(top, 0), min(top + colour.shape[0], frame.shape[0])
    x0, x1 = max(left, 0), min(left + colour.shape[1], frame.shape[1])
    if x0 >= x1:
        return
    inside = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    region = frame[y0:y1, x0:x1]
    region *= 1 - coverage[inside]
    region += colour[inside]
    np.maximum(mask[y0:y1, x0:x1], coverage[inside][..., 0], out=mask[y0:y1, x0:x1])


# -- backdrops


class Painter:
    """A backdrop in progress. Coordinates are in units of the stage's height, y downwards; `height`: the picture's, in pixels."""

    def __init__(self, seed, scale=1):
        self.rng = np.random.default_rng(seed)
        self.height, self.width = HEIGHT * scale, WIDTH / HEIGHT
        rows, columns = (np.arange(size * scale, dtype=np.float32) + 0.5 for size in (HEIGHT, WIDTH))
        self.y, self.x = np.meshgrid(rows / self.height, columns / self.height, indexing="ij")
        self.image = np.zeros((*self.y.shape, 3), np.float32)

    def sky(self, top, bottom):
        fade = np.clip(self.y / 0.7, 0, 1)[..., None]
        self.image[:] = np.asarray(top) * (1 - fade) + np.asarray(bottom) * fade

    def fill(self, distance, colour):
        self.image += _coverage(distance, self.height) * (np.asarray(colour, np.float32) - self.image)

    def ellipse(self, cx, cy, a, b, colour):
        self.fill(ellipse(self.x, self.y, cx, cy, a, b), colour)

    def capsule(self, ax, ay, bx, by, radius, colour):
        self.fill(capsule(self.x, self.y, ax, ay, bx, by, radius), colour)

    def box(self, cx, cy, a, b, colour):
        self.fill(box(self.x, self.y, cx, cy, a, b), colour)

    def polygon(self, *corners, colour):
        self.fill(polygon(self.x, self.y, *corners), colour)

    def ground(self, y, colour):
        self.fill(y - self.y, colour)

    def spread(self, count, margin=0.12):
        """Places across the stage, evenly apart with a little disorder."""
        step = (self.width - 2 * margin) / count
        return [margin + step * (i + self.rng.uniform(0.2, 0.8)) for i in range(count)]

    def clouds(self, count):
        for cx in self.spread(count):
            cy, r = self.rng.uniform(0.1, 0.28), self.rng.uniform(0.055, 0.075)
            for dx, dy, a, b in ((0, 0, 1.5, 1.0), (1.3, 0.15, 1.2, 0.7), (-1.3, 0.15, 1.2, 0.7)):
                self.ellipse(cx + dx * r, cy + dy * r, a * r, b * r, (250, 250, 252))


def _meadow(p: Painter):
    p.sky((120, 190, 240), (205, 232, 250))
    p.ellipse(p.rng.uniform(0.2, 1.5), 0.18, 0.11, 0.11, (255, 225, 90))
    p.clouds(2)
    for cx in p.spread(2, 0):
        p.ellipse(cx, 0.78, p.rng.uniform(0.45, 0.7), p.rng.uniform(0.22, 0.3), (110, 180, 95))
    p.ground(0.66, (95, 175, 70))
    for cx in p.spread(5):
        p.ellipse(
            cx, p.rng.uniform(0.93, 0.96), 0.026, 0.026, ((250, 240, 90), (245, 130, 170))[int(p.rng.integers(2))]
        )


def _beach(p: Painter):
    p.sky((90, 180, 235), (190, 230, 245))
    sun = p.rng.uniform(0.3, 1.4)
    p.ellipse(sun, 0.16, 0.11, 0.11, (255, 225, 90))
    p.ground(0.5, (40, 120, 200))
    p.ground(0.7, (240, 220, 165))
    trunk = 0.2 if sun > 0.85 else 1.55
    p.capsule(trunk, 0.78, trunk + 0.06, 0.32, 0.03, (140, 95, 55))
    for angle in (-2.9, -2.3, -1.57, -0.8, -0.2):
        tip = trunk + 0.06 + 0.19 * np.cos(angle), 0.38 + 0.14 * np.sin(angle)
        p.capsule(trunk + 0.06, 0.32, *tip, 0.032, (50, 150, 75))
    boat = p.rng.uniform(0.7, 1.1)
    p.polygon((boat - 0.11, 0.5), (boat, 0.34), (boat, 0.5), colour=(250, 250, 250))
    p.polygon((boat - 0.13, 0.51), (boat + 0.12, 0.51), (boat + 0.07, 0.57), (boat - 0.08, 0.57), colour=(200, 60, 50))


def _desert(p: Painter):
    p.sky((245, 190, 120), (252, 225, 170))
    p.ellipse(p.rng.uniform(0.3, 1.4), 0.2, 0.12, 0.12, (250, 120, 70))
    for cx in p.spread(2, 0):
        p.ellipse(cx, 0.78, p.rng.uniform(0.5, 0.8), p.rng.uniform(0.18, 0.27), (232, 170, 95))
    p.ground(0.68, (236, 190, 115))
    for cx in p.spread(2):
        foot, h = p.rng.uniform(0.71, 0.76), p.rng.uniform(0.24, 0.34)
        for bx0, by0, bx1, by1 in ((0, 0, 0, 1), (0.1, 0.5, 0.1, 0.85), (0, 0.5, 0.1, 0.5)):
            p.capsule(cx + bx0, foot - by0 * h, cx + bx1, foot - by1 * h, 0.034, (70, 140, 80))


def _snow(p: Painter):
    p.sky((165, 190, 215), (222, 232, 242))
    for cx in p.spread(2, 0):
        h, w = p.rng.uniform(0.35, 0.5), p.rng.uniform(0.35, 0.45)
        p.polygon((cx - w, 0.7), (cx, 0.68 - h), (cx + w, 0.7), colour=(135, 150, 180))
        p.polygon(
            (cx - 0.3 * w, 0.68 - 0.7 * h), (cx, 0.68 - h), (cx + 0.3 * w, 0.68 - 0.7 * h), colour=(248, 250, 252)
        )
    p.ground(0.68, (235, 240, 248))
    for cx in p.spread(2):
        for layer in range(3):
            y, w = 0.76 - 0.1 * layer, 0.13 - 0.025 * layer
            p.polygon((cx - w, y), (cx, y - 0.17), (cx + w, y), colour=(45, 105, 85))


def _city(p: Painter):
    p.sky((16, 18, 52), (62, 48, 98))
    p.ellipse(p.rng.uniform(0.2, 1.5), 0.16, 0.1, 0.1, (250, 245, 215))
    left = -0.05
    while left < p.width:
        w, h = p.rng.uniform(0.2, 0.3), p.rng.uniform(0.25, 0.5)
        p.box(left + w / 2, 0.7 - h / 2, w / 2 - 0.012, h / 2, (45, 45, 75))
        for wx in np.arange(left + 0.055, left + w - 0.04, 0.085):
            for wy in np.arange(0.76 - h, 0.66, 0.11):
                if p.rng.random() < 0.5:
                    p.box(wx, wy, 0.023, 0.03, (250, 215, 110))
        left += w
    p.ground(0.68, (70, 70, 85))
    p.box(p.width / 2, 0.945, p.width, 0.018, (225, 215, 120))


def _forest(p: Painter):
    p.sky((150, 205, 190), (205, 230, 205))
    for colour, count in (((95, 150, 110), 4), ((50, 115, 70), 4)):
        for cx in p.spread(count, 0):
            h = p.rng.uniform(0.3, 0.5)
            p.capsule(cx, 0.72, cx, 0.48, 0.03, (105, 75, 50))
            if p.rng.random() < 0.5:
                p.polygon((cx - 0.15, 0.6), (cx, 0.57 - h), (cx + 0.15, 0.6), colour=colour)
            else:
                p.ellipse(cx, 0.57 - 0.45 * h, 0.14, 0.5 * h, colour)
    p.ground(0.68, (90, 125, 60))
    for cx in p.spread(3):
        p.ellipse(cx, p.rng.uniform(0.92, 0.95), 0.04, 0.024, (200, 70, 50))


PAINTINGS = {"meadow": _meadow, "beach": _beach, "desert": _desert, "snow": _snow, "city": _city, "forest": _forest}


@cache
def backdrop(setting: str, index: int, scale: int = 1) -> np.ndarray:
    """float32 [height, width, 3] in 0..255."""
    painter = Painter([list(SETTINGS).index(setting), index, 7], scale)
    PAINTINGS[setting](painter)
    return np.clip(painter.image, 0, 255)


# -- stories


def draw_frame(story: Story, motions: list[Motion], t: int, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Pixel frame `t`: uint8 [height, width, 3], and how far puppets cover each pixel, float32 [height, width] in 0..1."""
    beat = story.beats[story.beat_of_chunks()[t // FRAMES_PER_CHUNK]]
    frame = backdrop(beat.setting, beat.backdrop, scale).copy()
    mask = np.zeros(frame.shape[:2], np.float32)
    for puppet, motion in zip(story.puppets, motions, strict=True):
        if not np.isnan(motion.x[t]):
            paste(frame, mask, puppet, motion, t, scale)
    return frame.round().astype(np.uint8), mask


def render(
    story: Story, first_latent: int = 0, num_latents: int | None = None, scale: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 [T, height, width, 3] and puppet coverage float32 [T, height, width] in 0..1."""
    num_latents = story.num_chunks * LATENTS_PER_CHUNK - first_latent if num_latents is None else num_latents
    times = range(first_latent * FRAMES_PER_LATENT, (first_latent + num_latents) * FRAMES_PER_LATENT)
    motions = stage(story)
    frames, masks = zip(*(draw_frame(story, motions, t, scale) for t in times), strict=True)
    return np.stack(frames), np.stack(masks)


def cell_masks(masks: np.ndarray, cell: int = 16) -> np.ndarray:
    """Per latent frame and cell: does a puppet cover more than a twentieth of it? bool [F, h, w]."""
    t, height, width = masks.shape
    cells = masks.reshape(t // FRAMES_PER_LATENT, FRAMES_PER_LATENT, height // cell, cell, width // cell, cell)
    return cells.mean((1, 3, 5)) > 0.05
