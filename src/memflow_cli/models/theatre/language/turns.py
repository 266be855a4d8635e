"""Who of two comes or goes first: "the bear leaves, followed by the robot"."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from memflow_cli.models.theatre.language.cast import Member
from memflow_cli.models.theatre.language.reader import Reading
from memflow_cli.models.theatre.language.words import ANY_SPECIES, SpeciesOf, Word, spoken

_TRAVELS = {"enter", "leave", "absent"}
_SECOND_FIRST = re.compile(r"\b(after|once|as soon as|when|follow(?:s|ing)?|behind)\b")
_FIRST_FIRST = re.compile(r"\b(then|followed|before|until|later|next|afterwards|soon)\b")
_THEY_LEAVE = re.compile(
    r"(?<!before )(?<!if )(?<!when )(?<!until )(?<!as )\b(?:they|(?:both|the two)(?: of them)?)(?: then| now| both| all| just)*"
    r" (?:leave|left(?! (?:and right|paws?|hands?|feet|side)\b)|exit|depart"
    r"|(?:go|went|walk|run|wander|stroll|hop|head) (?:away|off|out|home))\b"
)
_GONE_BEFORE = re.compile(
    rf"\b(?:after|once|when|as soon as) the (?P<gone>{ANY_SPECIES}) (?:has|had|is|was) (?:left|gone)\b"
    rf"|\bfollow(?:s|ed)? the (?P<followed>{ANY_SPECIES}) (?:out|away|off|home)\b"
    rf"|\b(?:leaves?|goes (?:away|off|out|home)|walks (?:away|off|out)|departs|exits?) (?:along |together )?(?:with|after|behind)"
    rf" the (?P<other>{ANY_SPECIES})(?= ,|$| too\b| and\b)"
)

Turn = tuple[int, int]  # of two turns the lesser comes first; those with the same first number are told of as one


def with_those_who_went_too(
    reading: Reading, words: Sequence[Word], species_of: SpeciesOf, known: Mapping[str, Member]
) -> Reading:
    """Who is followed out, or gone with, leaves as well: "the robot leaves with the bear", "takes its hand and they leave"."""
    acts, text = dict(reading.acts), spoken(words, species_of)
    they_leave = _THEY_LEAVE.search(text) is not None
    somebody_leaves = any(done[-1][0] == "leave" for done in acts.values())
    found = list(_GONE_BEFORE.finditer(text))
    gone = {match["gone"] for match in found}
    gone |= {match["followed"] or match["other"] for match in found if somebody_leaves}
    for who, member in known.items():
        if (they_leave or who in gone) and member.is_on_stage and not _travels(acts.get(who, ())):
            acts[who] = (*acts.get(who, ()), ("leave", ""))
    return replace(reading, acts=acts)


def turns_told(
    reading: Reading, words: Sequence[Word], mentions: Mapping[str, int], species_of: SpeciesOf, first: int
) -> dict[str, Turn]:
    """The turns of those who come or go in a sentence, of which the first is numbered `first`.

    `mentions`: the place of the first word that names each species. Who is not named has no turn of its own ("both leave").
    """
    travellers = sorted((who for who in mentions if _travels(reading.acts.get(who, ()))), key=mentions.__getitem__)
    turns = {species: (first, place) for place, species in enumerate(travellers)}
    if len(travellers) == 2:
        one, other = travellers
        text = spoken(words, species_of)
        between = spoken(words[mentions[one] : mentions[other]], species_of)
        if _SECOND_FIRST.search(between) or text.startswith("before "):
            turns = {other: (first, 0), one: (first + 1, 0)}
        elif _FIRST_FIRST.search(between):
            turns = {one: (first, 0), other: (first + 1, 0)}
    return turns


def _travels(acts: Sequence[tuple[str, str]]) -> bool:
    return any(verb in _TRAVELS for verb, _ in acts)
