"""What theatre understands: its cast, its settings, and every phrase its training captions were made of.

`training/captions.py` builds captions from these very tables, so the list of known words cannot go stale.
"""

import unicodedata

SPECIES = ("fox", "cat", "rabbit", "bear", "bird", "robot")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
ACCESSORIES = ("hat", "scarf")
ACCESSORY_COLOURS = ("red", "yellow", "blue", "white")
SIDES = ("left", "right")

SETTINGS = {
    "meadow": ("in a meadow", "in a green meadow", "in the meadow"),
    "beach": ("on a beach", "on a sandy beach", "on the beach"),
    "desert": ("in a desert", "in a dry desert", "in the desert"),
    "snow": ("in the snow", "in a snowy field", "in the white snow"),
    "city": ("in a city at night", "in the city at night", "in a city"),
    "forest": ("in a forest", "in the woods", "in the forest"),
}
EMPTY_SETTINGS = {
    "meadow": ("meadow", "green meadow"),
    "beach": ("beach", "sandy beach"),
    "desert": ("desert", "dry desert"),
    "snow": ("snowy field", "snow"),
    "city": ("city at night", "city"),
    "forest": ("forest",),
}
EMPTY_SCENES = ("an empty {setting}", "the {setting} is empty", "nobody is in the {setting}", "a quiet {setting}")
EMPTY_PLACES = ("nobody is there", "no one is there", "the stage is empty", "the place is empty")

ACTIONS = {
    "stand": ("stands still", "is standing", "waits", "stands there"),
    "walk": ("walks to the {side}", "walks {side}", "goes {side}", "goes to the {side}"),
    "jump": ("jumps", "jumps up and down", "is jumping", "hops"),
    "wave": ("waves", "is waving", "waves a hand", "says hello"),
    "spin": ("spins", "spins around", "turns around", "is spinning"),
    "enter": ("enters from the {side}", "comes in from the {side}", "walks in from the {side}"),
    "return": ("comes back from the {side}", "returns from the {side}", "comes back in from the {side}"),
    "leave": ("leaves to the {side}", "walks out to the {side}", "goes away to the {side}"),
}
WEARING = ("with", "wearing", "in")
JOINING = ("and", "while")
ARTICLES = ("a", "an", "the")


def words_of(text: str) -> list[str]:
    """The lower-case words of a text in any script, in order. A run of emoji or other signs is a word, too."""
    words: list[str] = []
    last = ""  # the kind of the word that may go on
    for character in unicodedata.normalize("NFC", text).lower().replace("\u2019", "'"):
        kind = _kind(character)
        if (kind == "joining" and last) or (kind in ("letter", "sign") and kind == last):
            words[-1] += character
        elif kind in ("letter", "sign"):
            words.append(character)
        last = last if kind == "joining" else kind
    return [word for word in (word.strip("'") for word in words) if word]


def _kind(character: str) -> str:
    """letter (or digit), sign (emoji, symbols), joining (marks, joiners, apostrophe); nothing for what parts words."""
    if character in "'\u200c\u200d":
        return "joining"
    category = unicodedata.category(character)
    if category == "So":
        return "sign"
    return {"L": "letter", "N": "letter", "M": "joining"}.get(category[0], "")


def _collect_words() -> frozenset[str]:
    phrases = [*SPECIES, *COLOURS, *ACCESSORIES, *SIDES, *WEARING, *JOINING, *ARTICLES, *EMPTY_PLACES]
    phrases += [template.format(setting="") for template in EMPTY_SCENES]
    for table in (SETTINGS, EMPTY_SETTINGS, ACTIONS):
        phrases += [phrase.format(side="") for phrases_of_entry in table.values() for phrase in phrases_of_entry]
    return frozenset(word for phrase in phrases for word in words_of(phrase))


WORDS = _collect_words()
