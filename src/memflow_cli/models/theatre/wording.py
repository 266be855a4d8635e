"""Words that mean something only in the light of the story, put in plain words or left out before a sentence is read."""

import re
from collections.abc import Callable, Iterator, Sequence

from memflow_cli.models.theatre.vocabulary import SPECIES
from memflow_cli.models.theatre.words import Word

SpeciesOf = Callable[[Word], str | None]  # for which a word stands

_SPECIES = "|".join(SPECIES)
_A_SPECIES = rf"an?(?: \w+){{0,2}}? (?:{_SPECIES})"
_COMPARISON = re.compile(
    rf"\b(?:(?<!would )(?<!something )(?<!what looks )like {_A_SPECIES}|than {_A_SPECIES}|as \w+(?P<as> as {_A_SPECIES})"
    rf"|(?:dream|think)\w* (?P<of>(?:of|about) {_A_SPECIES}))\b"
)


def without_comparisons(words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """Whom somebody is like, bigger than or dreams of does not come in: "hops like a rabbit"."""
    kept = list(words)
    for _, start, end in reversed(list(_found(_COMPARISON, words, species_of))):
        kept[start:end] = []
    return kept


def _found(
    pattern: re.Pattern[str], words: Sequence[Word], species_of: SpeciesOf
) -> Iterator[tuple[re.Match[str], int, int]]:
    """Where a pattern is found in a sentence whose words have a space between them, and a species for each that names one:
    the match, and the places of the first word and after the last of its named groups, or else of all of it.
    """
    text = " ".join(species_of(word) or word.known_as for word in words)
    for match in pattern.finditer(text):
        start, end = match.span(match.lastgroup or 0)
        yield match, text[: start + 1].count(" "), text[:end].count(" ") + 1
