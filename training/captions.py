"""Captions of a story's beats: colour and accessory are said when a puppet is first seen, later mostly left out."""

from collections.abc import Collection

import numpy as np

from memflow_cli.models.theatre.vocabulary import (
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
OTHER_ORDER = 0.5  # how often a caption of two names them in the other order, where order says nothing
UNMENTIONED = 0.15  # how often a caption says nothing of a known puppet that only stands there


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
    lines, seen = [], set(known)
    for index, beat in enumerate(story.beats):
        opens_scene = index == 0 or beat.cut
        name_setting = opens_scene or rng.random() < 0.4
        if not beat.acts:
            line = _empty_caption(beat, rng, name_setting)
        else:
            phrases = []
            for puppet_index, act in beat.acts.items():
                puppet, back = story.puppets[puppet_index], puppet_index in seen
                others_act = any(other.verb != "stand" for other in beat.acts.values())
                if back and act.verb == "stand" and others_act and not beat.cut and rng.random() < UNMENTIONED:
                    continue
                if tells_looks and (not back or rng.random() < said_again):
                    name = describe(puppet, rng, _pick(rng, ARTICLES_AGAIN) if back else "a")
                else:
                    name = f"{'the' if tells_looks or back else _pick(rng, ARTICLES_AGAIN)} {puppet.species}"
                phrases.append(f"{name} {_action(act, back, rng)}")
                seen.add(puppet_index)
            if len(phrases) > 1 and not _is_placed_by_order(beat, opens_scene) and rng.random() < OTHER_ORDER:
                phrases.reverse()
            line = f" {_pick(rng, JOINING)} ".join(phrases)
            if name_setting:
                place = _pick(rng, SETTINGS[beat.setting])
                line = f"{line} {place}" if rng.random() < 0.7 else f"{place}, {line}"
        lines.append(line[0].upper() + line[1:] + ("." if rng.random() < 0.7 else ""))
    return lines


def _is_placed_by_order(beat: Beat, opens_scene: bool) -> bool:
    """Whether who is named first stands at the left."""
    return opens_scene and any(act.side is None for act in beat.acts.values())
