"""Captions of the kind that theatre was trained on: told from other prompts, read without any network, and written."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from memflow_cli.models.theatre.language.vocabulary import (
    ACCESSORIES,
    ACCESSORY_COLOURS,
    ACTIONS,
    COLOURS,
    EMPTY_PLACES,
    EMPTY_SCENES,
    EMPTY_SETTINGS,
    JOINING,
    SETTINGS,
    SIDES,
    SPECIES,
    WEARING,
    words_of,
)

MOST_CLAUSES = 2
MOST_WORDS = 26  # the end token is one more; of 28 tokens and more the picture suffers

Clause = tuple[str, str | None, tuple[str, str] | None, str, str | None]
"""Species, colour, (accessory, its colour), verb, side."""

WRITTEN = {
    "stand": "stands still",
    "walk": "walks to the {side}",
    "jump": "jumps up and down",
    "wave": "waves a hand",
    "spin": "spins around",
    "enter": "enters from the {side}",
    "return": "comes back from the {side}",
    "leave": "leaves to the {side}",
}
_SHORTER = {
    "jump": "jumps", "wave": "waves", "spin": "spins", "stand": "waits",
    "return": "returns from the {side}", "walk": "walks {side}",
}  # fmt: skip
WHERE = {  # each setting
    "meadow": "in a meadow", "beach": "on a beach", "desert": "in a desert",
    "snow": "in the snow", "city": "in a city at night", "forest": "in a forest",
}  # fmt: skip


@dataclass(frozen=True)
class TrainedCaption:
    """What such a caption says."""

    clauses: tuple[Clause, ...]
    setting: str | None
    is_empty: bool


def _one_of(phrases: Iterable[str]) -> str:
    return "(?:" + "|".join(sorted(phrases, key=len, reverse=True)) + ")"


def _named(phrases_of: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """What each phrase stands for."""
    return {phrase: key for key, phrases in phrases_of.items() for phrase in phrases}


_SETTING_OF = _named(SETTINGS)
_EMPTY_SETTING_OF = _named(EMPTY_SETTINGS)
_ACT_OF = {
    phrase.format(side=side): (verb, side if "{side}" in phrase else None)
    for verb, phrases in ACTIONS.items()
    for phrase in phrases
    for side in SIDES
}
_WORN = f"(?P<worn_colour>{_one_of(ACCESSORY_COLOURS)}) (?P<worn>{_one_of(ACCESSORIES)})"
_ACCESSORY = f"(?: {_one_of(WEARING)} an? {_WORN})?"
_CLAUSE = re.compile(
    rf"(?:a|an|the)(?: (?P<colour>{_one_of(COLOURS)}))? (?P<species>{_one_of(SPECIES)}){_ACCESSORY} (?P<act>{_one_of(_ACT_OF)})"
)
_BEFORE = re.compile(f"(?P<place>{_one_of(_SETTING_OF)}) ")
_AFTER = re.compile(f" (?P<place>{_one_of(_SETTING_OF)})$")
_JOINED = re.compile(f" {_one_of(JOINING)} ")
_EMPTY = {scene.format(setting=place): key for scene in EMPTY_SCENES for place, key in _EMPTY_SETTING_OF.items()}
_MARKS = re.compile(r"[A-Za-z ,.]*")


def read_caption(prompt: str) -> TrainedCaption | None:
    """What a prompt says, if it is a caption that training could have written; None for any other."""
    if not _MARKS.fullmatch(prompt) or "." in prompt.rstrip()[:-1]:
        return None
    text = " ".join(words_of(prompt))
    if text in EMPTY_PLACES or text in _EMPTY:
        return TrainedCaption((), _EMPTY.get(text), is_empty=True)
    setting = None
    if place := _BEFORE.match(text):
        setting, text = _SETTING_OF[place["place"]], text[place.end() :]
    elif place := _AFTER.search(text):
        setting, text = _SETTING_OF[place["place"]], text[: place.start()]
    clauses = []
    while found := _CLAUSE.match(text):
        worn = (found["worn"], found["worn_colour"]) if found["worn"] else None
        clauses.append((found["species"], found["colour"], worn, *_ACT_OF[found["act"]]))
        text = text[found.end() :]
        if not text and len({clause[0] for clause in clauses}) == len(clauses) <= MOST_CLAUSES:
            return TrainedCaption(tuple(clauses), setting, is_empty=False)
        joined = _JOINED.match(text)
        if not joined:
            return None
        text = text[joined.end() :]
    return None


def write_caption(clauses: list[Clause], setting: str | None) -> str:
    """A caption of one or two clauses; longer ones in shorter words."""
    text = _write(clauses, setting, WRITTEN)
    return (
        text
        if len(text.split()) < MOST_WORDS
        else _write(clauses, setting, WRITTEN | _SHORTER).replace(" at night", "")
    )


def write_empty_caption(setting: str) -> str:
    return f"The {EMPTY_SETTINGS[setting][0]} is empty."


def _write(clauses: list[Clause], setting: str | None, phrases: dict[str, str]) -> str:
    told = []
    for species, colour, worn, verb, side in clauses:
        article = "the" if colour is None else "an" if colour[0] in "aeiou" else "a"
        name = " ".join(word for word in (article, colour, species) if word)
        accessory = f" with a {worn[1]} {worn[0]}" if worn else ""
        told.append(f"{name}{accessory} {phrases[verb].format(side=side)}")
    text = " and ".join(told) + (f" {WHERE[setting]}" if setting else "")
    return text[0].upper() + text[1:] + "."
