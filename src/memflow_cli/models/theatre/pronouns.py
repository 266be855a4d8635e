"""Whom a story calls he and whom she: learned where one alone can be meant, and used where two could be."""

import re
from collections.abc import Callable, Sequence

from memflow_cli.models.theatre.vocabulary import SPECIES
from memflow_cli.models.theatre.words import Vocabulary, Word

_CALLED = {"he": "he", "she": "she", "him": "he"}  # "her" may mean what is hers
_OTHER = {"he": "she", "she": "he"}
_IS_ONE = re.compile(rf"\b(?P<called>he|she) (?:is|was) an? (?:\w+ ){{0,3}}?(?P<who>{'|'.join(SPECIES)})\b")


class Pronouns:
    """Of one story. Species stand for whoever is of them."""

    def __init__(self) -> None:
        self._called: dict[str, str] = {}

    def learn(self, words: Sequence[Word], introduced: Sequence[str]) -> None:
        """`introduced`: everybody whom the story has told of, this sentence included."""
        told = " ".join(word.known_as for word in words)
        for match in _IS_ONE.finditer(told):
            self._called.setdefault(match["who"], match["called"])
        called = {_CALLED[word.known_as] for word in words if word.known_as in _CALLED}
        if len(introduced) == 1 and len(called) == 1:
            self._called.setdefault(introduced[0], called.pop())

    def resolved(
        self,
        words: Sequence[Word],
        introduced: Sequence[str],
        species_of: Callable[[Word], str | None],
        known: Vocabulary,
    ) -> list[Word]:
        """The sentence with a species for each pronoun by which one alone can be meant, where the story has told of several."""
        plain: list[Word] = []
        for place, word in enumerate(words):
            who = self._meant(_CALLED[word.known_as], introduced) if word.known_as in _CALLED else None
            names_itself = any(species_of(before) for before in words[:place])  # "the cat jumps when she hears it"
            if len(introduced) > 1 and who and not names_itself and not _IS_ONE.match(_rest(words, place)):
                plain += [known.word("the"), known.word(who)]
            else:
                plain.append(word)
        return plain

    def _meant(self, called: str, introduced: Sequence[str]) -> str | None:
        so_called = [species for species in introduced if self._called.get(species) == called]
        if not so_called and len(introduced) == 2:  # by elimination
            so_called = [species for species in introduced if self._called.get(species) != _OTHER[called]]
        return so_called[0] if len(so_called) == 1 else None


def _rest(words: Sequence[Word], place: int) -> str:
    return " ".join(word.known_as for word in words[place:])
