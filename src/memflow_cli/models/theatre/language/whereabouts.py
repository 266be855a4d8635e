"""Where a story is, beside what the network reads of a sentence: a first place mentioned in passing, and no place by mistake."""

import re
from collections.abc import Sequence

from memflow_cli.models.theatre.language.words import Word, text_of

_PLACE_WORDS = {
    "snow": r"snow(?:y|ing|s|flakes?|drifts?|fields?)?|ic[ey]|frozen|arctic|glacier",
    "beach": r"beach(?:es)?|sea(?:side|shore)?|ocean|shore|coast|seashells?",
    "forest": r"forests?|woods?|woodland|(?<!palm )trees|jungle",
    "city": r"city|town|streets?|downtown|skyscrapers|lamp ?posts?|pavement",
    "desert": r"deserts?|dunes?|cactus(?:es)?|cacti|sahara",
    "meadow": r"meadows?|grass|fields?|lawn|pasture|flowers|daisies",
}
_ANY_PLACE = re.compile("|".join(rf"(?P<{setting}>\b(?:{words})\b)" for setting, words in _PLACE_WORDS.items()))
_IS_ABOUT_A_PLACE = re.compile(
    r"\b(?:in|into|on|onto|inside|through|across|along|by|near|beside|under|between|among|around|at|where|here|there|this|now"
    r"|reach\w*|arriv\w*|enter\w*|visit\w*|find\w*|found|meanwhile|home|(?:walk|go|goes|went|gone|travel|run|move|come|fl[yi])\w*"
    r"(?: \w+){0,2} to)\b"
)


def place_in_passing(words: Sequence[Word]) -> str | None:
    """The setting of a place that is mentioned: "she lives where there is always snow"."""
    match = _ANY_PLACE.search(text_of(words))
    return match.lastgroup if match else None


def is_about_a_place(words: Sequence[Word]) -> bool:
    """Whether a sentence may say that the story is somewhere else now; "waves to the houses" does not."""
    return _IS_ABOUT_A_PLACE.search(text_of(words)) is not None
