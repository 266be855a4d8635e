"""Characters given by picture, and named memory: do they look as they should when the prompt says their species only?

    python -m benchmarks.cast --quick            # ten minutes of one core
    python -m benchmarks.cast --stories 40

On theatre's held-out stories, by the judge, percent of films (or puppets) with the looks asked for, colour and accessory, with
95% intervals; films are made as `memflow generate` makes them, the reader included.

*by picture*: a character's description says its species only, its picture shows how it looks, in another setting or on a plain
ground; it comes in for the first time. *no picture*: the same story, without: chance. *both return*: two come and go in turn,
then one prompt calls both back, by name or (*by score*) by the same words without names. *new looks*: one comes back in another
hat or scarf, leaves, and is called back by its species: has it the new looks, if the segment said `remember`, if it is only
named, and if the score alone decides? *one puppet*, *right one of two*: the returns of benchmarks.memory, with everybody named
and by score alone; the difference is of the same stories with the same noise.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.chosen_model import ChosenModel, add_model_options, load_chosen
from benchmarks.films import film_seed, to_storyboard
from benchmarks.intervals import mean, share
from benchmarks.judge import Judge, Seen, load_judge
from benchmarks.returns import KINDS, WALKING, majority, story_of
from benchmarks.true_clips import LOOKED_AT, half_size, worn_by
from memflow_cli.film.frames import to_uint8
from memflow_cli.film.given import Given, encode_told, give_pictures, mirrored, shot_of
from memflow_cli.film.given_picture import GivenPicture
from memflow_cli.film.recipe import resolve
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, ACCESSORY_COLOURS, SETTINGS
from memflow_cli.pipeline import generate_chunks
from memflow_cli.story.plan import FilmPlan, plan_film
from memflow_cli.story.storyboard import Segment, Storyboard, Subject
from memflow_cli.walks import make_walk
from training.beats import Act, Beat
from training.captions import describe
from training.drawing import render
from training.world import FIRST_HELD_OUT_SEED, FPS, FRAMES_PER_CHUNK, Puppet, Story, sample_puppets, shows_held_out

SIZE = (224, 128)
QUICK_STORIES = 7
NAM = MemoryOptions(policy="nam")
GROUNDS = ((236, 232, 220), (180, 200, 210), (205, 190, 175))
EMPTY, AWAY = "The stage is empty.", 4


@dataclass(frozen=True)
class Case:
    """A film and what its last segments should show: puppets with these looks, from chunk `since` of the film's end on.

    `pictures`: by character, [height, width, 3] uint8.
    """

    board: Storyboard
    wanted: tuple[Puppet, ...]
    last: int  # chunks of the film's end that are looked at
    pictures: dict[str, np.ndarray]


def scene(prompt: str, chunks: int, *names: str, **said: tuple[str, ...]) -> Segment:
    return Segment(prompt, chunks * FRAMES_PER_CHUNK / FPS, names=names, **said)


def without_names(case: Case) -> Case:
    """The same prompts; whom they are about, nobody says."""
    segments = tuple(replace(each, names=(), remember=()) for each in case.board.segments)
    return replace(case, board=replace(case.board, segments=segments))


def drawn(number: int, part: int, count: int) -> tuple[np.random.Generator, tuple[Puppet, ...], list[str]]:
    """What a story of a part is drawn from: puppets, and two settings in none of which training leaves them out."""
    rng = np.random.default_rng([FIRST_HELD_OUT_SEED, part, number])
    while True:
        puppets, settings = sample_puppets(rng, count), [str(name) for name in rng.permutation(list(SETTINGS))[:2]]
        if not shows_held_out(puppets, settings):
            return rng, puppets, settings


def film_of(number: int, part: int, segments: Sequence[Segment], **more: object) -> Storyboard:
    seed = int(np.random.default_rng([FIRST_HELD_OUT_SEED, part, number, 1]).integers(2**31))
    return Storyboard("cast", tuple(segments), seed=seed, memory=NAM, **more)  # type: ignore[arg-type]


def still(puppet: Puppet, setting: str, number: int, is_plain: bool) -> np.ndarray:
    """A picture of the puppet standing there, or cut out on a plain ground."""
    story = Story(number, "free", (puppet,), (Beat(1, setting, number % 3, {0: Act("stand")}),))
    frames, masks = (each[0] for each in render(story, 0, 1))
    cover = masks[..., None]
    ground = np.array(GROUNDS[number % len(GROUNDS)])
    return (frames * cover + ground * (1 - cover)).round().astype(np.uint8) if is_plain else frames


def by_picture(number: int, is_plain: bool = False, is_given: bool = True) -> Case:
    _, (puppet,), (here, there) = drawn(number, 1, 1)
    side, place = ("left", "right")[number % 2], SETTINGS[here][0]
    description = f"a {puppet.species}"
    segments = [
        scene(f"Nobody is {place}.", 2),
        scene(f"{description.capitalize()} comes in from the {side}.", 6, *(("star",) if is_given else ())),
    ]
    given = {"star": still(puppet, there, number, is_plain)} if is_given else {}
    pictures = ("star.png",) if is_given else ()
    board = film_of(number, 1, segments, characters={"star": Subject(description, pictures)})
    return Case(board, (puppet,), 6 - WALKING, given)


def both_return(number: int) -> Case:
    rng, (first, second), (here, _) = drawn(number, 2, 2)
    place = SETTINGS[here][0]
    segments = [
        scene(f"Nobody is {place}.", 1),
        scene(f"{describe(first, rng).capitalize()} enters from the left.", 3, "one"),
        scene(f"The {first.species} leaves to the left.", 3, "one"),
        scene(f"{describe(second, rng).capitalize()} enters from the right.", 3, "two"),
        scene(f"The {second.species} leaves to the right.", 3, "two"),
        scene(EMPTY, AWAY),
        scene(
            f"The {first.species} comes back from the left and the {second.species} comes back from the right.",
            7,
            "one",
            "two",
        ),
    ]
    return Case(film_of(number, 2, segments), (first, second), 3, {})


def new_looks(number: int, is_told: bool = True) -> Case:
    rng, (before,), (here, _) = drawn(number, 3, 1)
    place = SETTINGS[here][0]
    choices = [(kind, colour) for kind in ACCESSORIES for colour in ACCESSORY_COLOURS if colour != before.colour]
    kind, colour = choices[int(rng.integers(len(choices)))]
    if (kind, colour) == worn_by(before):
        kind, colour = next(each for each in choices if each != worn_by(before))
    after = replace(before, accessory=kind, accessory_colour=colour)
    changed = {"remember": ("star",)} if is_told else {}
    segments = [
        scene(f"Nobody is {place}.", 1),
        scene(f"{describe(before, rng).capitalize()} enters from the left.", 4, "star"),
        scene(f"The {before.species} leaves to the left.", 3, "star"),
        scene(EMPTY, AWAY),
        scene(f"{describe(after, rng).capitalize()} enters from the right.", 5, "star", **changed),
        scene(f"The {before.species} leaves to the right.", 3, "star"),
        scene(EMPTY, AWAY),
        scene(f"The {before.species} comes back from the right.", 6, "star"),
    ]
    return Case(film_of(number, 3, segments), (after,), 6 - WALKING, {})


def returning(number: int, kind: str) -> Case:
    """A return of benchmarks.memory, with everybody named by the beats that they are in."""
    story = story_of(len(KINDS) * number + KINDS.index(kind))
    board = to_storyboard(story, NAM, film_seed(story, 0))
    segments = tuple(
        replace(segment, names=tuple(f"puppet {index}" for index in beat.acts))
        for segment, beat in zip(board.segments, story.beats, strict=True)
    )
    puppet = story.puppets[next(iter(story.beats[-1].acts))]
    last = sum(beat.num_chunks for beat in story.beats[-2:]) - WALKING
    return Case(replace(board, segments=segments), (puppet,), last, {})


PARTS: dict[str, Callable[[int], Case]] = {
    "by picture, another setting": by_picture,
    "by picture, plain ground": lambda number: by_picture(number, is_plain=True),
    "no picture": lambda number: by_picture(number, is_given=False),
    "both return, named": both_return,
    "both return, by score": lambda number: without_names(both_return(number)),
    "new looks, remembered": new_looks,
    "new looks, named": lambda number: new_looks(number, is_told=False),
    "new looks, by score": lambda number: without_names(new_looks(number, is_told=False)),
    "one puppet, named": lambda number: returning(number, "one puppet"),
    "one puppet, by score": lambda number: without_names(returning(number, "one puppet")),
    "right one of two, named": lambda number: returning(number, "right one of two"),
    "right one of two, by score": lambda number: without_names(returning(number, "right one of two")),
}
PAIRS = [
    (named, f"{part}, by score")
    for named in PARTS
    for part in [named.partition(",")[0]]
    if f"{part}, by score" in PARTS
]


PLACES: dict[str, Callable[[int], int]] = {
    "before the sink": lambda frame: frame,
    "in the sink's place": lambda frame: -1 - frame,
    "far away": lambda frame: frame - 20,
}
"""Where else a given picture, latent frame -1, -2 and so on, could be for attention than in its place of the bank."""


def place_pictures(where: str) -> None:
    """In this process, given pictures have their positions there."""
    usual = KVCache._bank_position

    def position(cache: KVCache, index: int, frame: int) -> int:
        return PLACES[where](frame) if frame < 0 else usual(cache, index, frame)

    KVCache._bank_position = position  # type: ignore[method-assign]


def film_end(model: ChosenModel, case: Case) -> Iterator[np.ndarray]:
    """The frames that are looked at of each of the film's last chunks, uint8 [4, 64, 112, 3]."""
    backbone, memory = model.backbone, resolve(case.board, model.entry).memory
    plan: FilmPlan = plan_film(case.board, backbone.geometry, SIZE)
    given: list[Given] = []
    for name, pixels in case.pictures.items():
        about = GivenPicture(-1 - len(given), name, "character", "", "")
        given.append(Given(about, case.board.characters[name].description, pixels))
        if memory.mirror_pictures:
            given.append(mirrored(given[-1], -1 - len(given)))
    told = encode_told(backbone, case.board, plan.segments, given)
    walk = make_walk(backbone, plan.size, plan.fps, memory)
    give_pictures(walk, given, told)
    decoder = backbone.decoder_at(*plan.size)
    decoder.reset()
    shots = (shot_of(case.board, segment, told) for segment in plan.segments)
    for chunk in generate_chunks(walk, shots):
        frames = decoder.decode(chunk.latents[0])
        if chunk.index >= plan.num_chunks - case.last:
            yield half_size(to_uint8(frames)[list(LOOKED_AT)])


def looks_right(model: ChosenModel, judge: Judge, case: Case) -> list[bool]:
    """For each puppet that is wanted: whether most of the frames looked at show it with these looks."""
    answers = judge.answers(np.stack(list(film_end(model, case))))
    return [
        majority(answers.seen(puppet.species)) == Seen(puppet.species, puppet.colour, worn_by(puppet))
        for puppet in case.wanted
    ]


def row(part: str, right: Sequence[Sequence[bool]]) -> str:
    found = share([answer for film in right for answer in film], independent=len(right))
    return f"| {part} | {found['percent']:.0f} ({found['low']:.0f}-{found['high']:.0f}) | {found['n']} |"


def difference(named: str, score: str, results: dict[str, list[list[bool]]]) -> str:
    changes = [100 * (np.mean(one) - np.mean(other)) for one, other in zip(results[named], results[score], strict=True)]
    found = mean(changes)
    return f"| {named} - {score} | {found['mean']:+.0f} ({found['low']:+.0f} to {found['high']:+.0f}) | {found['n']} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=40, help="of each part")
    parser.add_argument("--first", type=int, default=0, help="the first story's number")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STORIES} stories")
    parser.add_argument("--parts", nargs="*", metavar="PART", default=[], help="only parts that begin so")
    parser.add_argument("--one-way", action="store_true", help="pictures as they are only, not mirrored as well")
    parser.add_argument("--picture-guidance", type=float, help="towards pictures, else the model's own")
    parser.add_argument("--place", choices=PLACES, help="of given pictures, for attention; else in the bank")
    add_model_options(parser)
    options = parser.parse_args(arguments)
    if options.place:
        place_pictures(options.place)
    stories = range(options.first, options.first + (QUICK_STORIES if options.quick else options.stories))
    chosen = [part for part in PARTS if not options.parts or any(part.startswith(each) for each in options.parts)]
    torch.set_grad_enabled(False)
    model, judge = load_chosen(options), load_judge()
    memory = replace(NAM, mirror_pictures=False if options.one_way else None, picture_guidance=options.picture_guidance)
    results: dict[str, list[list[bool]]] = {}
    print("| part | looks as asked, % | n |\n|---|---|---|")
    for part in chosen:
        cases = [PARTS[part](number) for number in stories]
        cases = [replace(case, board=replace(case.board, memory=memory)) for case in cases]
        results[part] = [looks_right(model, judge, case) for case in cases]
        print(row(part, results[part]), flush=True)
    for named, score in PAIRS:
        if {named, score} <= results.keys() and named != score:
            print(difference(named, score, results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
