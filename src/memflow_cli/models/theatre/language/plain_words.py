"""A story's prompts, sentence by sentence, in the words that the reader takes best."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from memflow_cli.models.theatre.language.asides import without_asides
from memflow_cli.models.theatre.language.cast import Member
from memflow_cli.models.theatre.language.fragments import as_sentence
from memflow_cli.models.theatre.language.naming import take_names
from memflow_cli.models.theatre.language.pronouns import Pronouns
from memflow_cli.models.theatre.language.reader import Reader
from memflow_cli.models.theatre.language.speech import plainly_said
from memflow_cli.models.theatre.language.vocabulary import SPECIES
from memflow_cli.models.theatre.language.whereabouts import place_in_passing
from memflow_cli.models.theatre.language.wording import (
    in_active_words,
    where_they_have_gone,
    with_colour_first,
    with_species,
    with_the_same_looks,
    with_what_was_done,
    without_comparisons,
    without_dressing,
    without_strangers,
    without_the_missing,
    without_what_is_not_worn,
)
from memflow_cli.models.theatre.language.words import COMMA, MAX_WORDS, Word, sentences

_INTO = re.compile(r"\b(?:in|on)?to (?:the|an?) (?=(\w+))(?=(\w+ \w+)?)")


class PlainWords:
    """Of one story: what its words have come to mean on the way."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._vocabulary = reader.vocabulary
        self._names: dict[str, str] = {}
        self._pronouns = Pronouns()
        self._before: Sequence[Word] = ()  # the sentence before
        self.last_deed: str | None = None  # a verb of the vocabulary's actions
        self.asks = False  # whether the sentence is a question
        self.species_of = cache(self._named_by)

    def sentences(self, prompt: str, told_last: Callable[[], str | None]) -> Iterator[list[Word]]:
        """Each sentence's words, in pieces that the reader takes; names that the story gave are put in plain words.

        `told_last`: of whom the story told last, when it is asked.
        """
        for sentence in sentences(plainly_said(prompt)):
            self.asks = sentence.rstrip("\"')!").endswith("?")
            sentence = self._without_names(sentence)
            plain, names = take_names(sentence, self._species_in, told_last(), self._vocabulary.is_word)
            self._names |= names
            words = self._vocabulary.read(plain)
            while len(words) > MAX_WORDS:
                commas = [place for place, word in enumerate(words[:MAX_WORDS]) if word.row == COMMA]
                end = commas[-1] if commas and commas[-1] > MAX_WORDS // 3 else MAX_WORDS
                yield words[:end]
                words = words[end:]
            if words:
                yield words

    def plain(
        self, words: Sequence[Word], cast: Mapping[str, Member], introduced: Sequence[str], cut: bool
    ) -> list[Word]:
        """A sentence as the reader takes it best, in the light of the story. `introduced`: species, as they were told of."""
        vocabulary, species_of = self._vocabulary, self.species_of
        before, self._before = self._before, words
        words = as_sentence(
            self._pronouns.in_third_person(words, species_of, vocabulary), before, species_of, vocabulary
        )
        words = self._pronouns.resolved(words, introduced, species_of, vocabulary)
        if cut:
            words = where_they_have_gone(without_the_missing(words, species_of), species_of, vocabulary)
        words = without_asides(without_dressing(words, species_of, vocabulary), species_of)
        words = with_what_was_done(words, self._deed_in, self.last_deed, species_of, vocabulary)
        words = in_active_words(words, species_of, vocabulary)
        words = with_colour_first(words, species_of, vocabulary)
        words = without_strangers(without_what_is_not_worn(words, species_of), species_of)
        bare = without_comparisons(words, species_of)
        words = bare if cast or self._reader.species_named(bare) else words
        present = [species for species in introduced if cast[species].is_on_stage]
        members = [cast[species] for species in (present if len(present) > 1 else introduced)]
        words = with_species(words, members, species_of, vocabulary)
        return with_the_same_looks(words, members, species_of, vocabulary)

    def learn(
        self, words: Sequence[Word], before: Sequence[str], introduced: Sequence[str], names: Mapping[str, str]
    ) -> None:
        """What a sentence teaches: whom it calls he or she, whose names it gives. `before`: who was told of before it."""
        mentions = self.first_mentions(words)
        pronoun = next((place for place, word in enumerate(words) if word.known_as in ("he", "she")), len(words))
        comes_first = pronoun < min(mentions.values(), default=len(words))  # "she meets a robot"
        self._pronouns.learn(words, before if comes_first else introduced)
        self._names |= {name: species for name, species in names.items() if name not in SPECIES}

    def name(self, species: str, names: Sequence[str]) -> None:
        """Names of somebody, unless the story has given it one."""
        if species not in self._names.values():
            self._names |= dict.fromkeys(names, species)

    def first_mentions(self, words: Sequence[Word]) -> dict[str, int]:
        """Of each species that the words name, the place of the first that does."""
        mentions: dict[str, int] = {}
        for place, word in enumerate(words):
            species = self.species_of(word)
            if species is not None:
                mentions.setdefault(species, place)
        return mentions

    def place_of(self, prompt: str) -> str | None:
        """Where a story's first prompt is that names a place only as the one that somebody enters ("a robot marches into the
        city"), or in passing.
        """
        text = plainly_said(prompt)
        places = (f"in the {place}" for match in _INTO.finditer(text) for place in match.groups() if place)
        settings = (self._reader.read(self._vocabulary.read(place), (), None).setting for place in places)
        return next((setting for setting in settings if setting), None) or place_in_passing(self._vocabulary.read(text))

    def _without_names(self, sentence: str) -> str:
        """A name that is a word, too ("Snowy"), is one only where it has a capital."""
        for name, species in self._names.items():
            written = name.capitalize() if self._vocabulary.is_word(name) else f"(?i:{name})"
            sentence = re.sub(rf"\b{written}\b", species, sentence)
        return sentence

    def _species_in(self, text: str) -> list[str]:
        named = map(self.species_of, self._vocabulary.read(text))
        return [species for species in named if species is not None]

    def _deed_in(self, words: Sequence[Word]) -> str | None:
        """What somebody does in a part of a sentence."""
        acts = self._reader.read(words, (), None).acts.values()
        return next((verb for done in acts for verb, _ in reversed(done) if verb not in ("idle", "stand")), None)

    def _named_by(self, word: Word) -> str | None:
        named = self._reader.species_named([word])
        return named.pop() if len(named) == 1 else None  # "animal" may be any of them
