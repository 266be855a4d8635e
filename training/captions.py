"""Captions of a story's beats: colour and accessory are said when a puppet is first seen, later mostly left out.

Of two, who was introduced first is named first, as the reader of prompts writes it (`theatre.language.meaning`).
"""

from collections.abc import Collection, Sequence

import numpy as np

from memflow_cli.models.theatre.language.vocabulary import (
    ACTIONS,
    EMPTY_PLACES,
    EMPTY_SCENES,
    EMPTY_SETTINGS,
    JOINING,
    SETTINGS,
    WEARING,
)
from training.beats import Act, Beat
from training.world import Puppet, Story

ARTICLES_AGAIN = ("a", "the")  # before a known puppet that is described once more
UNMENTIONED = 0.05  # how often a caption says nothing of a known puppet that only stands there


def _pick(rng: np.random.Generator, choices) -> str:
    return choices[int(rng.integers(len(choices)))]


def describe(puppet: Puppet, rng: np.random.Generator, article: str = "a") -> str:
    """'a red fox wearing a blue hat'."""
    article = "an" if article == "a" and puppet.colour[0] in "aeiou" else article
    worn = f" {_pick(rng, WEARING)} a {puppet.accessory_colour} {puppet.accessory}" if puppet.accessory else ""
    return f"{article} {puppet.colour} {puppet.species}{worn}"


def _action(act: Act, back: bool, rng: np.random.Generator) -> str:
    verb = "return" if act.verb == "enter" and back else act.verb
    return _pick(rng, ACTIONS[verb]).format(side=act.side)


def _empty_caption(beat: Beat, rng: np.random.Generator, name_setting: bool) -> str:
    if name_setting or rng.random() < 0.5:
        return _pick(rng, EMPTY_SCENES).format(setting=_pick(rng, EMPTY_SETTINGS[beat.setting]))
    return _pick(rng, EMPTY_PLACES)


def captions(
    story: Story,
    rng: np.random.Generator,
    said_again: float = 0.2,
    known: Collection[int] = (),
    tells_looks: bool = True,
) -> list[str]:
    """One caption a beat. `said_again` is how often a known puppet's colour (and accessory) are repeated.

    `known`: puppets that were seen before the first beat. `tells_looks`: else puppets are named by their species only, new
    ones too, as where a picture shows them.
    """
    lines, seen = [], list(known)
    for index, beat in enumerate(story.beats):
        opens_scene = index == 0 or beat.cut
        name_setting = opens_scene or rng.random() < 0.4
        if not beat.acts:
            line = _empty_caption(beat, rng, name_setting)
        else:
            phrases = []
            for puppet_index in _in_order(beat, opens_scene, seen):
                act, puppet, back = beat.acts[puppet_index], story.puppets[puppet_index], puppet_index in seen
                others_act = any(other.verb != "stand" for other in beat.acts.values())
                if back and act.verb == "stand" and others_act and not beat.cut and rng.random() < UNMENTIONED:
                    continue
                if tells_looks and (not back or rng.random() < said_again):
                    name = describe(puppet, rng, _pick(rng, ARTICLES_AGAIN) if back else "a")
                else:
                    name = f"{'the' if tells_looks or back else _pick(rng, ARTICLES_AGAIN)} {puppet.species}"
                phrases.append(f"{name} {_action(act, back, rng)}")
                seen += () if back else (puppet_index,)
            line = f" {_pick(rng, JOINING)} ".join(phrases)
            if name_setting:
                place = _pick(rng, SETTINGS[beat.setting])
                line = f"{line} {place}" if rng.random() < 0.7 else f"{place}, {line}"
        lines.append(line[0].upper() + line[1:] + ("." if rng.random() < 0.7 else ""))
    return lines


def _in_order(beat: Beat, opens_scene: bool, seen: Sequence[int]) -> list[int]:
    """In which order a caption names the puppets: as they were introduced; of two who come in at once, the one from the left.

    Where nobody's side is told in an opening scene, who is named first stands at the left.
    """
    if opens_scene and any(act.side is None for act in beat.acts.values()):
        return sorted(beat.acts)
    introduced = {puppet: place for place, puppet in enumerate(seen)}
    return sorted(
        beat.acts, key=lambda puppet: (introduced.get(puppet, len(seen)), beat.acts[puppet].side == "right", puppet)
    )
