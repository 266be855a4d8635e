"""What a sentence says in passing, which is no news of the stage: left out before it is read."""

import re
from collections.abc import Sequence

from memflow_cli.models.theatre.vocabulary import COLOURS, SPECIES
from memflow_cli.models.theatre.wording import SpeciesOf, without
from memflow_cli.models.theatre.words import Word

_COLOUR, _SPECIES = "|".join(COLOURS), "|".join(SPECIES)
_WHO = rf"(?:it|he|she|they|(?:the )?(?:{_SPECIES}))"
_TIMES = "hours?|days?|weeks?|months?|years?|time|minutes?|seasons?"
_THINGS = "drops?|snow|sand|leaves|water|dust|flakes?"
_ASIDES = tuple(
    re.compile(pattern)
    for pattern in (
        # "because red is her favourite colour"
        rf"(?:(?: ,)? (?:because|for|as|since|and))?(?:^| )(?:{_COLOUR}) is (?:its|his|her|the) \w+ colou?r\b",
        # "but it can not see the cat anywhere"
        rf"(?: ,)?(?: (?:but|and))?(?:^| ){_WHO} (?:can|could|does|did) not (?:see|find|hear|spot) (?:the|an?) (?:{_SPECIES})"
        r"(?: anywhere| yet| now)?(?!\S)",
        # "and never takes it off"
        rf"(?: ,)?(?: (?:and|but))?(?: {_WHO})?(?: (?:never|always|will not|does not))? (?:takes?|took) (?:it|them) off(?!\S)",
        # "they wave at one another"
        r" (?:at|to|with) (?:one another|each other)(?!\S)",
        # "waves after it"
        r"\b(?:waves?|waving|looks?|looking|stares?|calls?|shouts?|jumps?)(?P<after> after (?:it|him|her|them))(?!\S)",
        # "while she is away, a robot comes in"
        rf"(?:^|, )(?:and )?(?:while|as long as) {_WHO} (?:is|are|was|were) (?:away|gone|out|not here|not there)(?: ,)?",
        # "good night, little rabbit", "sleep well, rabbit"
        r"(?:^|, )(?:good (?:night|bye)|goodnight|goodbye|bye|farewell|sleep (?:well|tight)|sweet dreams|see you(?: \w+)?)"
        rf"(?: ,)?(?: (?:my|our|dear|little|sweet|friend))* (?:{_SPECIES})(?!\S)(?: ,)?",
        # "it is lonely without them"
        r"(?:^| )without (?:it|him|her|them)(?!\S)",
        # "seven years went by", "all the drops fly off"
        rf"\b(?:{_TIMES}) (?:goe?s?|went|pass(?:es|ed)?|flew|fly|flies) (?:by|past|on)(?!\S)",
        rf"(?: ,)?(?: and)? (?:all )?(?:the|its|his|her) (?:{_THINGS}) (?:fl(?:y|ies|ew)|falls?) (?:off|down|away|around)(?!\S)",
        # "but the fox does not"
        rf"(?:^| )(?:but|and) (?:the )?(?:{_SPECIES}) (?:does|did|is|has|was|will|can|could) not(?: ,|$)",
        # "are out playing"
        r"\b(?:is|are|was|were)(?P<out> out) (?=\w+ing\b)",
        # "he first and she behind him"
        r", (?:he|she|it|one) first(?: ,)? (?:and )?(?:he|she|it|the other) (?:behind|after)(?: (?:him|her|it))?(?!\S)",
        # "the fox not jump, it only stands"
        r" not (?:jump|wave|spin|hop|dance|turn)(?!\S)",
        # "with ice cream all over its face"
        r"\b(?:with |an? |some )?(?:ice creams?|orange juice|(?:red|white) wine|snow(?:balls?|m[ae]n))(?!\S)",
    )
)


def without_asides(words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """The sentence without them; itself, if it has nothing else."""
    kept = list(words)
    for pattern in _ASIDES:
        kept = without(pattern, kept, species_of)
    return kept
