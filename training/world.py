"""The paper theatre: who plays, where, and what happens. Deterministic by seed; drawn by `training.drawing`.

A stage of 224x128 pixels at 16 frames a second. Puppets walk 4 pixels a frame, one latent cell (16 pixels) a latent
frame (4 frames), and rest on three marks; actions start with their beat. So every latent frame of a puppet is one of
few pictures, shifted by whole cells: the smallest world in which memory can be measured.
"""

import zlib
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, ACCESSORY_COLOURS, COLOURS, SETTINGS, SPECIES
from training import plots
from training.beats import Act, Beat, move

WIDTH, HEIGHT, FPS = 224, 128, 16
FRAMES_PER_LATENT, LATENTS_PER_CHUNK = 4, 3
FRAMES_PER_CHUNK = FRAMES_PER_LATENT * LATENTS_PER_CHUNK
BACKDROPS_PER_SETTING = 3

MARKS = {"left": 48, "middle": 112, "right": 176}  # where puppets rest, in pixels
OFFSTAGE = {"left": -48, "right": 272}
PIXELS_PER_FRAME = 4
TURN = (1, 0.6, -0.6, -1, -0.6, 0.6)  # facing in the latent frames of a spin: two chunks a turn

HELD_OUT_PERCENT = 8
FIRST_HELD_OUT_SEED = 10_000_000  # story seeds from here on are never trained on
KINDS = ("free", "one puppet", "right one of two", "comings and goings", "acting", "company", "both at once")
DRAWN_UNASKED = (0.4, 0.3, 0.3, 0, 0, 0, 0)  # how often a story is of each kind when none is asked for
PUPPETS = {"one puppet": 1, "right one of two": 2, "company": 2, "both at once": 2}  # of the other kinds, one or two


@dataclass(frozen=True)
class Puppet:
    species: str
    colour: str
    accessory: str | None = None
    accessory_colour: str | None = None


@dataclass(frozen=True)
class Story:
    seed: int
    kind: str
    puppets: tuple[Puppet, ...]
    beats: tuple[Beat, ...]

    @property
    def num_chunks(self) -> int:
        return sum(beat.num_chunks for beat in self.beats)

    @property
    def beat_starts(self) -> list[int]:
        """The first chunk of every beat."""
        return [0, *accumulate(beat.num_chunks for beat in self.beats)][:-1]

    def beat_of_chunks(self) -> list[int]:
        return [index for index, beat in enumerate(self.beats) for _ in range(beat.num_chunks)]


@dataclass
class Motion:
    """One puppet's state at every pixel frame of a story, float32 [T]; `x` is NaN while it is not in play."""

    x: np.ndarray
    lift: np.ndarray  # pixels above the ground
    facing: np.ndarray  # 1 right, -1 left; between, and narrower, while it spins
    step: np.ndarray  # swing of the legs, -1..1
    wave: np.ndarray  # height of the waving arm, 0 down

    def visible(self) -> np.ndarray:
        return (self.x > 0) & (self.x < WIDTH)


def is_held_out(species: str, colour: str, setting: str) -> bool:
    """Whether this combination is never shown in training."""
    return zlib.crc32(f"{species} {colour} {setting}".encode()) % 100 < HELD_OUT_PERCENT


def shows_held_out(puppets, settings) -> bool:
    return any(is_held_out(p.species, p.colour, s) for p in puppets for s in settings)


def sample_puppets(rng: np.random.Generator, count: int) -> tuple[Puppet, ...]:
    """Puppets that differ in species and in colour; half of them wear something."""
    species, colours = rng.permutation(SPECIES)[:count], rng.permutation(COLOURS)[:count]
    puppets = []
    for name, colour in zip(species, colours, strict=True):
        if rng.random() < 0.5:
            worn = [c for c in ACCESSORY_COLOURS if c != colour]
            puppets.append(Puppet(str(name), str(colour), str(rng.choice(ACCESSORIES)), str(rng.choice(worn))))
        else:
            puppets.append(Puppet(str(name), str(colour)))
    return tuple(puppets)


def sample_story(seed: int, kind: str | None = None, held_out: bool = False, num_chunks: int = 22) -> Story:
    """The story of this seed. Training stories never show a held-out combination; `held_out` stories always do."""
    rng = np.random.default_rng([seed, 1 + KINDS.index(kind) if kind else 0])
    kind = kind or str(rng.choice(KINDS, p=DRAWN_UNASKED))
    while True:
        count = PUPPETS.get(kind) or int(rng.choice((1, 2), p=(0.55, 0.45)))
        puppets = sample_puppets(rng, count)
        settings = [str(name) for name in rng.permutation(list(SETTINGS))[: 2 if kind in ("free", "acting") else 1]]
        if shows_held_out(puppets, settings) == held_out:
            break
    scenes = [(setting, int(rng.integers(BACKDROPS_PER_SETTING))) for setting in settings]
    if kind == "one puppet":
        beats = plots.one_puppet(rng, scenes[0], num_chunks)
    elif kind == "right one of two":
        beats = plots.right_one_of_two(rng, scenes[0], num_chunks)
    elif kind == "comings and goings":
        beats = plots.comings_and_goings(rng, scenes[0], count, num_chunks)
    elif kind == "acting":
        beats = plots.acting(rng, scenes, count, num_chunks)
    elif kind == "company":
        beats = plots.company(rng, scenes[0], num_chunks)
    elif kind == "both at once":
        beats = plots.both_at_once(rng, scenes[0], num_chunks)
    else:
        beats = plots.free(rng, scenes, count, num_chunks)
    return Story(seed, kind, puppets, tuple(beats))


def stage(story: Story) -> list[Motion]:
    """Play the story: every puppet's motion over all pixel frames."""
    num_frames = story.num_chunks * FRAMES_PER_CHUNK
    motions = [
        Motion(np.full(num_frames, np.nan, np.float32), *(np.zeros(num_frames, np.float32) for _ in range(4)))
        for _ in story.puppets
    ]
    places: dict[int, str] = {}
    for beat, start in zip(story.beats, story.beat_starts, strict=True):
        before = {} if beat.cut else places
        places = {
            puppet: before.get(puppet, "middle" if act.verb in ("walk", "leave") else "")
            for puppet, act in beat.acts.items()
        }
        before = dict(places)
        for puppet, act in beat.acts.items():
            move(places, puppet, act, beat.acts)
        for puppet, act in beat.acts.items():
            target = OFFSTAGE[act.side] if act.verb == "leave" else MARKS[places[puppet]]
            origin = OFFSTAGE[act.side] if act.verb == "enter" else MARKS[before.get(puppet) or places[puppet]]
            frames = slice(start * FRAMES_PER_CHUNK, (start + beat.num_chunks) * FRAMES_PER_CHUNK)
            _play(motions[puppet], frames, act, origin, target)
    return motions


def _play(motion: Motion, frames: slice, act: Act, origin: float, target: float) -> None:
    t = np.arange(frames.stop - frames.start)
    earlier = motion.facing[frames.start - 1] if frames.start else 0
    resting = np.sign(earlier) if earlier else (-1 if origin > MARKS["middle"] else 1)
    direction = np.sign(target - origin) or resting
    walking = t * PIXELS_PER_FRAME < abs(target - origin)
    motion.x[frames] = origin + direction * np.minimum(t * PIXELS_PER_FRAME, abs(target - origin))
    motion.step[frames] = np.where(walking, np.sin(2 * np.pi * t / 8), 0)
    motion.facing[frames] = direction
    motion.lift[frames] = np.where(walking, 3 * np.abs(np.sin(2 * np.pi * t / 8)), 0)
    if act.verb == "jump":
        motion.lift[frames] = 28 * np.abs(np.sin(np.pi * t / 12))
    elif act.verb == "wave":
        motion.wave[frames] = 1 + 0.35 * np.sin(2 * np.pi * t / 12)
    elif act.verb == "spin":
        motion.facing[frames] = direction * np.array(TURN)[t // FRAMES_PER_LATENT % len(TURN)]
    if act.verb == "leave":
        motion.x[frames] = np.where(walking, motion.x[frames], np.nan)
