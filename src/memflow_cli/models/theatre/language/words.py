"""Prompts to sentences, and sentences to words that the reader knows: spelling mended, endings taken off, scripts told."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SETTINGS, SPECIES

UNKNOWN = 0  # row of what no vocabulary has
COMMA = 1
FIRST_WORD = 2
SHOWN = frozenset((*SPECIES, *COLOURS, *ACCESSORIES, *SETTINGS))  # what a slip of the pen most likely means
# Parts of patterns: the words for a species, a colour, what puppets wear.
ANY_SPECIES, ANY_COLOUR, WORN = "|".join(SPECIES), "|".join(COLOURS), "|".join((*ACCESSORIES, "cap", "shawl"))
_LONG = 6  # letters, from which a doubled one is a slip rather than another word
MAX_WORDS = 48  # of a sentence; what is longer is read in pieces

_MEANT = str.maketrans(
    {
        "‘": "'",
        "’": "'",
        "‛": "'",
        "`": "'",
        "´": "'",
        "“": '"',
        "”": '"',
        "–": ",",
        "—": ",",
        ";": ",",
        ":": ",",
        "…": ".",
    }
)
_CONTRACTIONS = (
    (re.compile(r"\b(do|does|did|is|was|are|were|has|have|had|could|would|should|must|need)nt\b"), r"\1 not"),
    (re.compile(r"\b(he|she|that|there|who)s\b"), r"\1 is"),
    (re.compile(r"\b(can't|cant)\b"), "can not"),
    (re.compile(r"\b(won't|wont)\b"), "will not"),
    (re.compile(r"\b(they|you)re\b"), r"\1 are"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(it|he|she|that|there|here|who|what|where|nobody|everybody|everyone|one)'s\b"), r"\1 is"),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'(ll|ve|m|d)\b"), ""),
    (re.compile(r"\b(cannot)\b"), "can not"),
    (re.compile(r"'s\b|s'(?=\s)"), ""),
)
_ABBREVIATIONS = re.compile(r"\b(mr|mrs|ms|dr|st|prof|vs|etc|e\.g|i\.e|jr|sr|p\.m|a\.m)\.", re.IGNORECASE)
_WORD_OR_COMMA = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|,")
_INNER_CAPITAL = re.compile(r"(?<=[a-z,] )(?<!the )[A-Z][a-z]+")  # "Bluebell" is no blue bell there
_DRAWN_OUT = re.compile(r"(.)\1{2,}")  # "sooo", "yesss"
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+|(?<=[.!?])(?=[A-Z])")
_ENDINGS = (
    ("ves", "f"),
    ("ies", "y"),
    ("es", ""),
    ("s", ""),
    ("ied", "y"),
    ("ed", ""),
    ("ed", "e"),
    ("ing", ""),
    ("ing", "e"),
    ("ly", ""),
    ("ish", ""),
    ("y", ""),
    ("er", ""),
    ("est", ""),
    ("like", ""),
    ("coloured", ""),
    ("colored", ""),
)


class Word(NamedTuple):
    """A word of a sentence: its row in the vocabulary, how it is spelled there, and how the author wrote it."""

    row: int
    known_as: str
    written: str


SpeciesOf = Callable[[Word], str | None]  # for which a word stands


def text_of(words: Iterable[Word]) -> str:
    """The words with a space between them, as they are spelled in the vocabulary."""
    return " ".join(word.known_as for word in words)


def spoken(words: Sequence[Word], species_of: SpeciesOf) -> str:
    """The words with a space between them, and a species for each that names one."""
    return " ".join(species_of(word) or word.known_as for word in words)


def words_of_match(match: re.Match[str], group: str | int = 0) -> slice:
    """Where the words are that a pattern found in what is `spoken`."""
    start, end = match.span(group)
    return slice(match.string[: start + 1].count(" "), match.string[:end].count(" ") + 1)


def plain_letters(text: str) -> str:
    """Full-width and accented Latin letters made plain, typographic quotes and dashes as on a keyboard."""
    text = unicodedata.normalize("NFKD", text.translate(_MEANT))
    return "".join(letter for letter in text if not unicodedata.combining(letter))


def sentences(prompt: str) -> list[str]:
    """A prompt's sentences, in order."""
    text = _ABBREVIATIONS.sub(lambda match: match.group().replace(".", ""), plain_letters(prompt))
    return [part.strip() for part in _SENTENCE_END.split(text) if re.search(r"[A-Za-z0-9]", part)]


class Vocabulary:
    """`words`: row by row, from FIRST_WORD on. `familiar`: those that the reader's training was written in; only to these
    is spelling mended. `telling`: those of them that are not names.
    """

    def __init__(self, words: Sequence[str], familiar: Iterable[str], telling: Iterable[str] = ()) -> None:
        self.words = tuple(words)
        self.rows = {word: row for row, word in enumerate(words, start=FIRST_WORD)}
        self.familiar = frozenset(familiar)
        self.telling = frozenset(telling)
        self._spelled: dict[str, list[str]] = {}

    def read(self, sentence: str) -> list[Word]:
        """The words and commas of a sentence."""
        text = plain_letters(sentence)
        likely_names = {name.lower() for name in _INNER_CAPITAL.findall(text)}
        text = text.lower().replace("-", " ").replace('"', ",")
        for pattern, meant in _CONTRACTIONS:
            text = pattern.sub(meant, text)
        found: list[Word] = []
        for written in _WORD_OR_COMMA.findall(text):
            if written == ",":
                if found and found[-1].row != COMMA:
                    found.append(Word(COMMA, ",", ","))
                continue
            spelled = self.spell(written)
            if written in likely_names and (len(spelled) > 1 or len(written) <= 4):
                spelled = [written]
            found += [Word(self.rows.get(known, UNKNOWN), known, written) for known in spelled]
        while found and found[-1].row == COMMA:
            found.pop()
        return found

    def word(self, known: str) -> Word:
        """A word that needs no mending."""
        return Word(self.rows.get(known, UNKNOWN), known, known)

    def is_word(self, name: str) -> bool:
        """Whether it means something else than whom it names."""
        return name in self.telling or (name in self.rows and name not in self.familiar)

    def spell(self, written: str) -> list[str]:
        """The word or words of the vocabulary that a written word is, or itself."""
        if written in self.rows and (written in self.familiar or len(written) < _LONG):
            return [written]
        if written not in self._spelled:
            self._spelled[written] = self._mend(written)
        return self._spelled[written]

    def _mend(self, written: str) -> list[str]:
        if written.isdigit() or len(written) < 3:
            return [written]
        if len(written) >= _LONG and (shown := _one_double_less(written) & SHOWN):  # "forrest" is a name, too
            return [shown.pop()]
        if written in self.rows:
            return [written]
        if _DRAWN_OUT.search(written):
            twice, once = _DRAWN_OUT.sub(r"\1\1", written), _DRAWN_OUT.sub(r"\1", written)
            return [twice if twice in self.familiar else once]
        for ending, instead in _ENDINGS:
            base = written.removesuffix(ending) + instead
            if written.endswith(ending) and len(base) > 2:
                if base in self.familiar or base in self.rows:
                    return [base]
                if base[-1:] == base[-2:-1] and base[:-1] in self.rows:
                    return [base[:-1]]
        near = self._near.get(written) if len(written) > 4 else None
        for shorter in _one_less(written) if len(written) > 4 else ():
            near = (
                near or self._near.get(shorter) or (shorter if shorter in self.familiar and len(shorter) > 3 else None)
            )
        near = near or self._near_short(written)
        if near:
            return [near]
        for at in range(3, len(written) - 2):
            first, second = written[:at], written[at:]
            if first in self.familiar and second in self.familiar:
                return [first, second]
        swapped = (written[:at] + written[at + 1] + written[at] + written[at + 2 :] for at in range(len(written) - 1))
        return [next((word for word in swapped if word in self.familiar), written)]

    def _near_short(self, written: str) -> str | None:
        """The one telling word that four letters are with one left out, or doubled: "wite", "redd"."""
        if len(written) != 4:
            return None
        meant = {word for word in _one_double_less(written) if len(word) > 2 and word in self.telling}
        meant |= {word for word in self.telling if len(word) == 5 and written in _one_less(word)}
        meant = meant & SHOWN or meant  # "wite" is white rather than write
        return meant.pop() if len(meant) == 1 else None

    @cached_property
    def _near(self) -> dict[str, str]:
        """A familiar word by each text that it becomes when a letter is left out."""
        return {text: word for word in sorted(self.familiar) if len(word) > 3 for text in _one_less(word)}


def _one_less(word: str) -> list[str]:
    return [word[:at] + word[at + 1 :] for at in range(len(word))]


def _one_double_less(word: str) -> set[str]:
    """The word with one of two like letters in a row left out."""
    return {word[:at] + word[at + 1 :] for at in range(1, len(word)) if word[at - 1] == word[at]}
