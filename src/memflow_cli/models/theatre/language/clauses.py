"""Clauses of a sentence that tell of one each: "the robot jumps and the bear waves"."""

import re
from collections.abc import Sequence

from memflow_cli.models.theatre.language.words import ANY_SPECIES, SpeciesOf, Word, spoken, text_of, words_of_match

_JOINT = re.compile(rf"(?: ,)? (?:and|while|but|whereas)(?= the (?:{ANY_SPECIES}) (?!(?:and|or|,)\b)\w+)")
_AND_THEY = re.compile(r"(?: ,)? and(?: (?:now|then|so|soon))*(?= (?:they|both|the two)\b)")
_ONE = re.compile(r"\b(?:it|he|she)\b")
_NO_CLAUSES = re.compile(
    r"\b(?:they|both|two|each|neither|nor|not|no|same|too|also|as|like|before|after|when|if|until)\b"
)


def clauses_of(words: Sequence[Word], species_of: SpeciesOf) -> list[list[Word]]:
    """The two clauses of a sentence that tells of one puppet and goes on with the other; else the whole sentence."""
    text = spoken(words, species_of)
    joints = list(_JOINT.finditer(text))
    if len(joints) != 1 or _NO_CLAUSES.search(text) or _ONE.search(text[: joints[0].start()]):
        return [list(words)]
    joint = words_of_match(joints[0])
    first, second = list(words[: joint.start]), list(words[joint.stop :])
    if first and species_of(first[-1]):  # "the fox and the cat wear hats"
        return [list(words)]
    named = [{species for word in clause if (species := species_of(word))} for clause in (first, second)]
    return [first, second] if all(len(each) == 1 for each in named) and named[0] != named[1] else [list(words)]


def and_they(words: Sequence[Word]) -> tuple[list[Word], list[Word]] | None:
    """What comes before "and they", and from "they" on: "the cat comes back, and they both jump"."""
    match = _AND_THEY.search(text_of(words))
    if match is None or not match.start():
        return None
    joint = words_of_match(match)
    return list(words[: joint.start]), list(words[joint.stop :])
