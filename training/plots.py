"""What happens in a story, kind by kind: its beats, drawn at random. `scene`: a setting and which of its backdrops."""

from dataclasses import replace

from memflow_cli.models.theatre.language.told_story import COMING_CHUNKS
from memflow_cli.models.theatre.language.vocabulary import SIDES
from training.beats import Act, Beat, move

ACTIONS_ON_THE_SPOT = ("jump", "wave", "spin")
OTHER_SIDE = 0.7  # how often a puppet of "comings and goings" or "both at once" returns on the other side
LEAVES_REPLACED = 0.6  # of "acting": how often a puppet that would leave does something on the spot instead
ONE_ACTS = 0.8  # of "both at once": how often one of two acts and the other waits
STAYS = 0.5  # of "company": how often who would leave does something on the spot, or nothing


def _side(rng) -> str:
    return SIDES[int(rng.integers(2))]


def one_puppet(rng, scene, num_chunks: int) -> list[Beat]:
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


def right_one_of_two(rng, scene, num_chunks: int) -> list[Beat]:
    """Begins empty; two puppets come and go in turn, then one of them is called back."""
    sides = _side(rng), _side(rng)
    called = int(rng.integers(2))
    beats = [Beat(1, *scene)]
    for puppet, side in enumerate(sides):
        beats += [Beat(3, *scene, {puppet: Act("enter", side)}), Beat(3, *scene, {puppet: Act("leave", side)})]
    beats += [Beat(4, *scene), Beat(3, *scene, {called: Act("enter", _side(rng))})]
    rest = num_chunks - sum(beat.num_chunks for beat in beats)
    return [*beats, Beat(rest, *scene, {called: Act(str(rng.choice(("stand", "jump", "wave"))))})]


def comings_and_goings(rng, scene, count: int, num_chunks: int) -> list[Beat]:
    """Begins empty, or with an entrance; one puppet after the other comes and goes, mostly where it did not last time."""
    beats, last_side = _before_an_entrance(rng, scene), {}
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


def acting(rng, scenes, count: int, num_chunks: int) -> list[Beat]:
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
            move(places, puppet, act, acts)
        length = min(remaining, 3 if rng.random() < 0.8 else 2)
        length = remaining if remaining - length < 2 else length
        beats.append(Beat(length, *scene, acts, cut))
        remaining -= length
    return beats


def company(rng, scene, num_chunks: int) -> list[Beat]:
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
            move(places, puppet, act, acts)
        length = min(remaining, 3 if rng.random() < 0.7 else 4)
        length = remaining if remaining - length < 2 else length
        beats.append(Beat(length, *scene, acts))
        remaining -= length
    return beats


def both_at_once(rng, scene, num_chunks: int) -> list[Beat]:
    """Two puppets stand there, or come in; one or both act; both leave and are called back, perhaps changed in sides.

    They come and go one after the other, as a film shows it (`memflow_cli.models.theatre.language.told_story`).
    """
    sides = tuple(SIDES)
    beats = [Beat(2, *scene, {0: Act("stand"), 1: Act("stand")})]
    if rng.random() < 0.5:
        sides = _either_way(rng)
        beats = [*_before_an_entrance(rng, scene), *_in_turn(rng, "enter", scene, sides)]
    while sum(beat.num_chunks for beat in beats) < num_chunks:
        beats += [Beat(3, *scene, _acts_together(rng)) for _ in range(int(rng.integers(1, 3)))]
        beats += _in_turn(rng, "leave", scene, sides)
        if rng.random() < 0.8:
            beats.append(Beat(int(rng.integers(1, 5)), *scene))
        sides = sides[::-1] if rng.random() < OTHER_SIDE else sides
        beats += _in_turn(rng, "enter", scene, sides)
    return _cut_to_length(beats, num_chunks)


def _before_an_entrance(rng, scene) -> list[Beat]:
    """An empty stage, or nothing: many films begin with somebody who comes in."""
    return [Beat(1, *scene)] if rng.random() < 0.5 else []


def _either_way(rng) -> tuple[str, str]:
    return SIDES if rng.random() < 0.5 else SIDES[::-1]


def _in_turn(rng, verb: str, scene, sides: tuple[str, str]) -> list[Beat]:
    """One of two comes, or goes, and then the other; whoever is there meanwhile stands."""
    one = int(rng.integers(2))
    other = 1 - one
    first, then = {one: Act(verb, sides[one])}, {other: Act(verb, sides[other])}
    if verb == "enter":
        then[one] = Act("stand")
    else:
        first[other] = Act("stand")
    return [Beat(COMING_CHUNKS, *scene, dict(sorted(acts.items()))) for acts in (first, then)]


def _acts_together(rng) -> dict[int, Act]:
    """Mostly one of two acts and the other waits; else both act, alike or not."""
    first, second = (str(verb) for verb in rng.choice(ACTIONS_ON_THE_SPOT, 2))
    verbs = [first, "stand" if rng.random() < ONE_ACTS else second]
    rng.shuffle(verbs)
    return {puppet: Act(verb) for puppet, verb in enumerate(verbs)}


def _cut_to_length(beats: list[Beat], num_chunks: int) -> list[Beat]:
    """The first beats, as many chunks of them; a last one of less than two is added to the one before."""
    kept: list[Beat] = []
    remaining = num_chunks
    for beat in beats:
        length = min(beat.num_chunks, remaining)
        if length == remaining == 1 and kept:
            kept[-1] = replace(kept[-1], num_chunks=kept[-1].num_chunks + 1)
        elif length:
            kept.append(replace(beat, num_chunks=length))
        remaining -= length
    return kept


def _lively(rng) -> str:
    return str(rng.choice(ACTIONS_ON_THE_SPOT)) if rng.random() < 0.7 else "stand"


def free(rng, scenes, count: int, num_chunks: int) -> list[Beat]:
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
            move(places, puppet, act, acts)
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
