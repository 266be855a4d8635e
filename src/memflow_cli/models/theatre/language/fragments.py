"""Sentences that are none, made whole by the one before them: "A hat! It is blue.", "Yes, a red one.", "And jump!"."""

import re
from collections.abc import Sequence

from memflow_cli.models.theatre.language.vocabulary import COLOURS
from memflow_cli.models.theatre.language.words import ANY_COLOUR, ANY_SPECIES, WORN, SpeciesOf, Vocabulary, Word, spoken

_UNCOLOURED = "".join(f"(?<!{colour} )" for colour in COLOURS)
_FIRST = r"^(?:(?:and|now|then|so|next|,) )*"
_TAKE_AWAY = re.compile(
    rf"{_FIRST}(?:lose|remove|delete|drop|get rid of|take (?:away|out|off)) (?P<who>the (?:\w+ )?(?:{ANY_SPECIES}))"
)
_DO_IT = re.compile(
    rf"{_FIRST}(?:(?:a few|some|two|three) (?P<deeds>jump|hop|leap|spin|twirl)s"
    r"|(?:(?:another|one more) )?(?P<deed>jump|hop|leap|wave|spin|twirl|dance))"
    r"(?: (?:up|down|and|again|once|twice|now|please|round|around|a|little))*$"
)
_COLOUR_ALONE = re.compile(rf"^(?:all |quite )?(?P<colour>{ANY_COLOUR})$")
_IS_OF_COLOUR = re.compile(
    rf"^(?:it|they) (?:is|are|was) (?:(?:a|bright|dark|very|all|of) )*(?P<colour>{ANY_COLOUR})(?: one)?$"
)
_ENDS_WITH_WORN = re.compile(rf"{_UNCOLOURED}\b(?P<worn>{WORN})(?: (?:too|now|on|today))?$")
_A_HAT_ALONE = re.compile(rf"^(?:yes|sure|indeed|right|oh)? ?,? ?(?P<what>an? (?:\w+ )?(?:{WORN}))(?: of course)?$")
_THE_SAME = re.compile(r"^(?:and |exactly |just )*the (?:very )?same(?: thing| again)?$")
_THEN_THE_OTHER = re.compile(rf"\w (?:first )?, (?:and )?then (?:the |an? )(?:{ANY_SPECIES})$")
_THE_CAT_TOO = re.compile(
    rf"^(?:and |then )*(?P<who>the (?:{ANY_SPECIES}))(?: ,)? (?:too|as well|also)$"
    rf"|^(?:and )?then (?P<next>the (?:{ANY_SPECIES}))$"
)
_NEVER_WITHOUT = re.compile(
    r"(?: ,)?(?: and)?(?: (?:it|he|she))? (?:never|does not)(?: \w+){1,4} without (?:its|his|her|the|an?)"
    rf" (?P<what>(?:\w+ )?(?:{WORN}))\b"
)


def as_sentence(
    words: Sequence[Word], before: Sequence[Word], species_of: SpeciesOf, vocabulary: Vocabulary
) -> list[Word]:
    """The words, as a sentence that says whom and what it is about; `before`: the sentence before."""
    text, last = spoken(words, species_of), spoken(before, species_of)
    plain: str | None = None
    if match := _TAKE_AWAY.search(text):
        plain = f"{match['who']} leaves{text[match.end() :]}"
    elif match := _DO_IT.search(text):
        plain = f"it {match['deed'] or match['deeds']}s"
    elif match := _COLOUR_ALONE.search(text) if before else None:
        plain = f"it is {match['colour']}"
    elif (match := _IS_OF_COLOUR.search(text)) and (worn := _ENDS_WITH_WORN.search(last)):
        plain = f"it wears a {match['colour']} {worn['worn']}"
    elif match := _A_HAT_ALONE.search(text) if before else None:
        plain = f"it wears {match['what']}"
    elif _THE_SAME.search(text):
        plain = "it does the same"
    elif match := _THEN_THE_OTHER.search(text):
        plain = f"{text} does the same"
    elif (match := _THE_CAT_TOO.search(text)) and before:
        plain = f"{match['who'] or match['next']} does the same"
    elif match := _NEVER_WITHOUT.search(text):
        plain = f"{text[: match.start()]} and it wears a {match['what']}{text[match.end() :]}"
    return list(words) if plain is None else list(map(vocabulary.word, plain.split()))
