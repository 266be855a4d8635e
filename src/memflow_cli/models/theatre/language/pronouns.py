"""Whom a story calls he and whom she: learned where one alone can be meant, and used where two could be. And who tells it."""

import re
from collections.abc import Sequence

from memflow_cli.models.theatre.language.words import ANY_SPECIES, SpeciesOf, Vocabulary, Word, spoken, text_of

_CALLED = {"he": "he", "she": "she", "him": "he"}  # "her" may mean what is hers
_OTHER = {"he": "she", "she": "he"}
_IS_ONE = re.compile(rf"\b(?P<called>he|she) (?:is|was) an? (?:\w+ ){{0,3}}?(?P<who>{ANY_SPECIES})\b")


_I_AM = re.compile(rf"\bi (?P<am>am )?an? (?:\w+ ){{0,3}}?(?P<who>{ANY_SPECIES})\b")
_SAYS = re.compile(rf"\b(?:the (?:{ANY_SPECIES}) \w+s|\w+s the (?:{ANY_SPECIES}))\b")
_MINE = {"my": "its", "mine": "its", "am": "is", "myself": "itself", "we": "they", "us": "them", "our": "their"}


class Pronouns:
    """Of one story. Species stand for whoever is of them."""

    def __init__(self) -> None:
        self._called: dict[str, str] = {}
        self._narrator: str | None = None

    def in_third_person(self, words: Sequence[Word], species_of: SpeciesOf, known: Vocabulary) -> list[Word]:
        """A sentence of a story that somebody on its stage tells: "I am a fox", then "I wave"."""
        text = spoken(words, species_of)
        if (match := _I_AM.search(text)) and not _SAYS.search(text):
            self._narrator = match["who"]
            place = text[: match.start()].count(" ")
            rest = words[place + (2 if match["am"] else 1) :]
            return [*words[:place], known.word("there"), known.word("is"), *rest]
        if self._narrator is None:
            return list(words)
        said = {"i": ["the", self._narrator], "me": ["the", self._narrator]} | {me: [it] for me, it in _MINE.items()}
        return [
            plain
            for word in words
            for plain in ([known.word(text) for text in said[word.known_as]] if word.known_as in said else [word])
        ]

    def learn(self, words: Sequence[Word], introduced: Sequence[str]) -> None:
        """`introduced`: everybody whom the story has told of, this sentence included."""
        told = text_of(words)
        for match in _IS_ONE.finditer(told):
            self._called.setdefault(match["who"], match["called"])
        called = {_CALLED[word.known_as] for word in words if word.known_as in _CALLED}
        if len(introduced) == 1 and len(called) == 1:
            self._called.setdefault(introduced[0], called.pop())

    def resolved(
        self,
        words: Sequence[Word],
        introduced: Sequence[str],
        species_of: SpeciesOf,
        known: Vocabulary,
    ) -> list[Word]:
        """The sentence with a species for each pronoun by which one alone can be meant, where the story has told of several.

        Whoever the sentence has named, and may be called so, may be meant as well: "the cat jumps when she hears it".
        """
        plain: list[Word] = []
        for place, word in enumerate(words):
            called = _CALLED.get(word.known_as)
            who = self._meant(called, introduced) if called else None
            named = [species for before in words[:place] if (species := species_of(before))]
            may_be_named = any(who != species and self._called.get(species, called) == called for species in named)
            if len(introduced) > 1 and who and not may_be_named and not _IS_ONE.match(text_of(words[place:])):
                plain += [known.word("the"), known.word(who)]
            else:
                plain.append(word)
        return plain

    def _meant(self, called: str, introduced: Sequence[str]) -> str | None:
        others = [species for species in introduced if species != self._narrator]
        so_called = [species for species in others if self._called.get(species) == called]
        if not so_called and len(others) in (1, 2):  # by elimination
            so_called = [species for species in others if self._called.get(species) != _OTHER[called]]
        return so_called[0] if len(so_called) == 1 else None
