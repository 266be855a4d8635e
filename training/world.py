"""The paper theatre: who plays, where, and what happens. Deterministic by seed; drawn by `training.drawing`.

A stage of 224x128 pixels at 16 frames a second. Puppets walk 4 pixels a frame, one latent cell (16 pixels) a latent
frame (4 frames), and rest on three marks; actions start with their beat. So every latent frame of a puppet is one of
few pictures, shifted by whole cells: the smallest world in which memory can be measured.
"""

import zlib
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from memflow_cli.models.theatre.vocabulary import ACCESSORIES, ACCESSORY_COLOURS, COLOURS, SETTINGS, SIDES, SPECIES

WIDTH, HEIGHT, FPS = 224, 128, 16
FRAMES_PER_LATENT, LATENTS_PER_CHUNK = 4, 3
FRAMES_PER_CHUNK = FRAMES_PER_LATENT * LATENTS_PER_CHUNK
BACKDROPS_PER_SETTING = 3

MARKS = {"left": 48, "middle": 112, "right": 176}  # where puppets rest, in pixels
OFFSTAGE = {"left": -48, "right": 272}
PIXELS_PER_FRAME = 4
TURN = (1, 0.6, -0.6, -1, -0.6, 0.6)  # facing in the latent frames of a spin: two chunks a turn

HELD_OUT_PERCENT = 8
OTHER_SIDE = 0.7  # how often a puppet of "comings and goings" returns on the other side
FIRST_HELD_OUT_SEED = 10_000_000  # story seeds from here on are never trained on
KINDS = ("free", "one puppet", "right one of two", "comings and goings", "acting", "company")
DRAWN_UNASKED = (0.4, 0.3, 0.3, 0, 0, 0)  # how often a story is of each kind when none is asked for
LEAVES_REPLACED = 0.6  # of "acting": how often a puppet that would leave does something on the spot instead
STAYS = 0.5  # of "company": how often who would leave does something on the spot, or nothing
ACTIONS_ON_THE_SPOT = ("jump", "wave", "spin")


@dataclass(frozen=True)
class Puppet:
    species: str
    colour: str
    accessory: str | None = None
    accessory_colour: str | None = None


@dataclass(frozen=True)
class Act:
    verb: str  # a key of vocabulary.ACTIONS, but "return"
    side: str | None = None


@dataclass(frozen=True)
class Beat:
    """What happens for a few chunks: one prompt. `acts` holds every puppet on stage, by its index."""

    num_chunks: int
    setting: str
    backdrop: int
    acts: dict[int, Act] = field(default_factory=dict)
    cut: bool = False


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
        count = {"one puppet": 1, "right one of two": 2, "company": 2}.get(kind) or int(
            rng.choice((1, 2), p=(0.55, 0.45))
        )
        puppets = sample_puppets(rng, count)
        settings = [str(name) for name in rng.permutation(list(SETTINGS))[: 2 if kind in ("free", "acting") else 1]]
        if shows_held_out(puppets, settings) == held_out:
            break
    scenes = [(setting, int(rng.integers(BACKDROPS_PER_SETTING))) for setting in settings]
    if kind == "one puppet":
        beats = _one_puppet(rng, scenes[0], num_chunks)
    elif kind == "right one of two":
        beats = _right_one_of_two(rng, scenes[0], num_chunks)
    elif kind == "comings and goings":
        beats = _comings_and_goings(rng, scenes[0], count, num_chunks)
    elif kind == "acting":
        beats = _acting(rng, scenes, count, num_chunks)
    elif kind == "company":
        beats = _company(rng, scenes[0], num_chunks)
    else:
        beats = _free(rng, scenes, count, num_chunks)
    return Story(seed, kind, puppets, tuple(beats))


def _side(rng) -> str:
    return SIDES[int(rng.integers(2))]


def _one_puppet(rng, scene, num_chunks: int) -> list[Beat]:
    """Begins empty; the puppet enters, acts, leaves, stays away for at least 4 chunks, comes back."""
    first, second = _side(rng), _side(rng)
    act = str(rng.choice(("stand", "jump", "wave", "spin")))
    beats = [
        Beat(2, *scene),
        Beat(3, *scene, {0: Act("enter", first)}),
        Beat(3, *scene, {0: Act(act)}),
        Beat(3, *scene, {0: Act("leave", first)}),
        Beat(4, *scene),
        Beat(3, *scene, {0: Act("enter", second)}),
    ]
    rest = num_chunks - sum(beat.num_chunks for beat in beats)
    return [*beats, Beat(rest, *scene, {0: Act(str(rng.choice(("stand", "jump", "wave"))))})]


def _right_one_of_two(rng, scene, num_chunks: int) -> list[Beat]:
    """Begins empty; two puppets come and go in turn, then one of them is called back."""
    sides = _side(rng), _side(rng)
    called = int(rng.integers(2))
    beats = [Beat(1, *scene)]
    for puppet, side in enumerate(sides):
        beats += [Beat(3, *scene, {puppet: Act("enter", side)}), Beat(3, *scene, {puppet: Act("leave", side)})]
    beats += [Beat(4, *scene), Beat(3, *scene, {called: Act("enter", _side(rng))})]
    rest = num_chunks - sum(beat.num_chunks for beat in beats)
    return [*beats, Beat(rest, *scene, {called: Act(str(rng.choice(("stand", "jump", "wave"))))})]


def _comings_and_goings(rng, scene, count: int, num_chunks: int) -> list[Beat]:
    """Begins empty; one puppet after the other comes and goes, mostly on the side where it was not last time."""
    beats, last_side = [Beat(1, *scene)], {}
    while (remaining := num_chunks - sum(beat.num_chunks for beat in beats)) > 0:
        puppet = len(last_side) if len(last_side) < count else int(rng.integers(count))
        opposite = rng.random() < OTHER_SIDE
        side = next((s for s in SIDES if (s != last_side.get(puppet)) == opposite), "left")
        side = side if puppet in last_side else _side(rng)
        last_side[puppet] = side
        beats.append(Beat(min(3, remaining), *scene, {puppet: Act("enter", side)}))
        if remaining > 3:
            beats.append(Beat(min(3, remaining - 3), *scene, {puppet: Act("leave", side)}))
    return beats


def _acting(rng, scenes, count: int, num_chunks: int) -> list[Beat]:
    """Everybody is on stage from the start, or soon; jumps, waves, spins and walks follow one another; a cut in most."""
    beats: list[Beat] = []
    places: dict[int, str] = {}
    cut_at = int(rng.integers(5, num_chunks - 5)) if rng.random() < 0.7 else num_chunks
    scene, remaining = scenes[0], num_chunks
    while remaining > 0:
        cut = scene is scenes[0] and num_chunks - remaining >= cut_at
        if cut:
            scene, places = scenes[1], dict.fromkeys(places, "")
        opens = cut or not beats
        cast = range(count) if not beats and rng.random() < 0.8 else places
        if opens:
            acts = {puppet: Act(_lively(rng)) for puppet in cast}
        else:
            acts = _next_acts(rng, places, count)
            replaced = {"stand": 1, "leave": LEAVES_REPLACED}
            acts |= {who: Act(_lively(rng)) for who, act in acts.items() if rng.random() < replaced.get(act.verb, 0)}
        for puppet, act in acts.items():
            _move(places, puppet, act, acts)
        length = min(remaining, 3 if rng.random() < 0.8 else 2)
        length = remaining if remaining - length < 2 else length
        beats.append(Beat(length, *scene, acts, cut))
        remaining -= length
    return beats


def _company(rng, scene, num_chunks: int) -> list[Beat]:
    """Two puppets in one scene: most of the time one of them comes, goes or acts while the other stands by."""
    beats: list[Beat] = []
    places: dict[int, str] = {}
    remaining = num_chunks
    while remaining > 0:
        if beats:
            acts = _next_acts(rng, places, 2)
            acts |= {
                who: Act(_lively(rng)) for who, act in acts.items() if act.verb == "leave" and rng.random() < STAYS
            }
        else:
            acts = {puppet: Act("stand") for puppet in range(int(rng.integers(3)))}
        for puppet, act in acts.items():
            _move(places, puppet, act, acts)
        length = min(remaining, 3 if rng.random() < 0.7 else 4)
        length = remaining if remaining - length < 2 else length
        beats.append(Beat(length, *scene, acts))
        remaining -= length
    return beats


def _lively(rng) -> str:
    return str(rng.choice(ACTIONS_ON_THE_SPOT)) if rng.random() < 0.7 else "stand"


def _free(rng, scenes, count: int, num_chunks: int) -> list[Beat]:
    """Whatever may happen: puppets enter, act, walk, leave and return; sometimes a cut to a second setting."""
    beats: list[Beat] = []
    places: dict[int, str] = {}  # puppet on stage -> its mark
    scene, remaining = scenes[0], num_chunks
    cut_at = num_chunks // 2 + int(rng.integers(-3, 4)) if rng.random() < 0.5 else num_chunks
    while remaining > 0:
        length = int(rng.integers(3, 6))
        length = remaining if remaining - length < 3 else length
        cut = scene is scenes[0] and num_chunks - remaining >= cut_at
        if cut:
            scene, places = scenes[1], dict.fromkeys(places, "")
        if not beats or (cut and places):
            acts = _opening_acts(rng, places if cut else None, count)
        elif cut:
            acts = {}
        else:
            acts = _next_acts(rng, places, count)
        if any(act.verb == "spin" for act in acts.values()):
            length = min(3, remaining) if remaining != length else length
        for puppet, act in acts.items():
            _move(places, puppet, act, acts)
        beats.append(Beat(length, *scene, acts, cut))
        remaining -= length
    return beats


def _opening_acts(rng, cast: dict[int, str] | None, count: int) -> dict[int, Act]:
    """A scene opens: with the cast given, else empty or with some of the puppets already on stage."""
    if cast is None:
        chosen = rng.choice(3, p=(0.3, 0.35, 0.35))
        cast = () if chosen == 0 else (0,) if chosen == 1 else range(count)
        if len(cast) == 1 and rng.random() < 0.4:
            return {0: Act(str(rng.choice(("enter", "enter", "walk"))), _side(rng))}
    return {puppet: Act(str(rng.choice(("stand", "stand", "jump", "wave", "spin")))) for puppet in cast}


def _next_acts(rng, places: dict[int, str], count: int) -> dict[int, Act]:
    """Everybody on stage acts; one puppet is the beat's focus and may come, go or walk."""
    acts = {puppet: Act("stand") for puppet in places}
    focus = int(rng.integers(count))
    taken = [place for puppet, place in places.items() if puppet != focus]
    if focus not in places:
        free_sides = [side for side in SIDES if side not in taken]
        if rng.random() < 0.7:
            acts[focus] = Act("enter", str(rng.choice(free_sides)))
    else:
        here, choice = places[focus], rng.random()
        if choice < 0.4:
            acts[focus] = Act("leave", here if here != "middle" else _side(rng))
        elif choice < 0.6 and (walks := _possible_walks(here, taken)):
            acts[focus] = Act("walk", str(rng.choice(walks)))
        else:
            acts[focus] = Act(str(rng.choice(("jump", "wave", "spin", "stand"))))
    return dict(sorted(acts.items()))


def _possible_walks(here: str, taken: list[str]) -> list[str]:
    targets = {"left": {"right": "middle"}, "right": {"left": "middle"}, "middle": {"left": "left", "right": "right"}}
    return [side for side, target in targets[here].items() if target not in taken]


def _move(places: dict[int, str], puppet: int, act: Act, acts: dict[int, Act]) -> None:
    """Where the puppet is after the beat. Whoever opens a scene alone stands in the middle, two at left and right."""
    if act.verb == "leave":
        places.pop(puppet, None)
    elif act.verb == "enter":
        places[puppet] = act.side
    elif act.verb == "walk":
        places[puppet] = "middle" if places.get(puppet, "middle") != "middle" else act.side
    elif not places.get(puppet):
        places[puppet] = "middle" if len(acts) == 1 else SIDES[sorted(acts).index(puppet)]


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
            _move(places, puppet, act, beat.acts)
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
