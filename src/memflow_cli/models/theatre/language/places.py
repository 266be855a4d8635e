"""Where on the stage a sentence says that somebody is: "a fox stands on the left, a cat on the right"."""

import re
from collections.abc import Iterable, Mapping, Sequence

from memflow_cli.models.theatre.language.reader import Reading
from memflow_cli.models.theatre.language.words import ANY_SPECIES, SpeciesOf, Vocabulary, Word, spoken, words_of_match

_STAGE = r"(?:stage|picture|frame|screen|scene|image|shot|view)"
_SIDE = r"(?:far |very )?(?P<{name}>left|right)(?: hand)?(?: (?:side|edge|end|corner|half|part|of centre))*"
_PLACE = re.compile(
    rf"(?:(?:over )?\b(?:on|at|in|(?P<to>to)) the {_SIDE.format(name='side')}(?: of (?:the|our) {_STAGE}\b)?"
    rf"|\b(?:on )?(?:the )?{_STAGE} {_SIDE.format(name='stage_side')})(?P<of> of(?= (?:the|an?)\b))?(?!\S)"
    r"(?! (?:time|moment|place|track|leg|foot|hand|paw)\b)"
)
_CLAUSE = re.compile(r"(?:^|, )(?:and |then |now |with |while )?$")  # what stands before a place that begins a clause
_A_PUPPET = re.compile(rf" (?:an?|the)(?: \w+)? (?:{ANY_SPECIES})\b")
_IN_PLACE = {"idle", "stand", "jump", "wave", "spin"}


def without_places(
    words: Sequence[Word], species_of: SpeciesOf, vocabulary: Vocabulary, present: Sequence[str]
) -> tuple[list[Word], dict[str, str]]:
    """The sentence without places on the stage, and who is where: left or right.

    `present`: who is on stage; "it" is the only one.
    """
    bare, sides = list(words), dict[str, str]()
    text = spoken(words, species_of)
    for match in reversed(list(_PLACE.finditer(text))):
        begins = _CLAUSE.search(text[: match.start()]) is not None
        if match["to"] and not begins:  # "walks to the left"
            continue
        place = words_of_match(match)
        before = [species for word in words[: place.start] if (species := species_of(word))]
        after = [species for word in words[place.stop :] if (species := species_of(word))]
        meant = after[:1] if begins and after else before[-1:]
        if not meant and {word.known_as for word in words[: place.start]} & {"it", "he", "she"} and len(present) == 1:
            meant = list(present)
        if not meant:
            continue
        sides[meant[0]] = match["side"] or match["stage_side"]
        is_all = begins and _A_PUPPET.match(text[match.end() :])  # "on the right a cat"
        bare[place] = map(vocabulary.word, ["in"] if match["of"] else ["there", "is"] if is_all else [])
    return bare, sides


def stay_in_place(reading: Reading, sides: Mapping[str, str], present: Iterable[str], opens: bool) -> bool:
    """Whether a sentence read without its places tells of nobody who comes, goes or walks: a place is then no direction.

    Whoever is not `present` where no scene `opens` has come from there.
    """
    there = set(present)
    return all(
        (opens or species in there) and {verb for verb, _ in reading.acts.get(species, ())} <= _IN_PLACE
        for species in sides
    )
