"""What a sentence says in passing, which is no news of the stage: left out before it is read."""

import re
from collections.abc import Sequence

from memflow_cli.models.theatre.language.wording import without
from memflow_cli.models.theatre.language.words import ANY_COLOUR, ANY_SPECIES, WORN, SpeciesOf, Word

_COLOUR, _SPECIES = f"(?:{ANY_COLOUR})", f"(?:{ANY_SPECIES})"
_WHO = rf"(?:it|he|she|they|(?:the )?{_SPECIES})"
_ITS, _IT = "(?:its|his|her|their|the)", "(?:it|him|her|them)"
_PART = (
    "(?:nose|ears?|eyes?|cheeks?|feet|foot|paws?|tail|tongue|face|head|beak|whiskers|toes|teeth|mouth|lips|wings?|belly|tummy"
    "|hands?)"
)
_TIME = "(?:hours?|days?|weeks?|months?|years?|time|minutes?|seasons?)"
_THING = "(?:hat|scarf|drops?|snow|sand|leaves|water|dust|flakes?)"
_PERSON = (
    "(?:(?:gentle|police|post)?m[ae]n|lady|ladies|wom[ae]n|boys?|girls?|child|children|somebody|someone|person|people)"
)
_DEED = "(?:jump|hop|wave|spin|turn|dance|come|go|leave)"
_FAREWELL = "(?:good (?:night|bye)|goodnight|goodbye|bye|farewell|sleep (?:well|tight)|sweet dreams|see you(?: \\w+)?)"
_END = r"(?!\S)"

# A sentence with an aside -> its pattern, of which the group, if it has one, is left out.
ASIDES = {
    "its nose is pink with cold": rf"(?:^| )(?:{_ITS}|both) {_PART} (?:is|are|was|were|looks?|turns?|turned|gets?)(?: \w+)?"
    rf" {_COLOUR}(?: with \w+)?{_END}",
    "can you see how pink its ears are": rf"\bhow {_COLOUR} {_ITS} {_PART} (?:is|are|was|were){_END}",
    "a bear with a pink nose": rf"(?P<colour>\b{_COLOUR}) {_PART}{_END}",
    "it is green with envy": rf"(?P<mood>\b{_COLOUR} with (?:envy|anger|rage|cold|joy|fear|age|shame|excitement)){_END}",
    "it feels a bit blue": rf"\bfeel(?:s|ing)?(?: (?:a|bit|little|so|very|rather|quite))*(?P<felt> {_COLOUR})(?= ,|$)",
    "once in a blue moon , it jumps": rf"\b(?:once in a blue moon|out of the blue){_END}(?: ,)?",
    "it wears red because red is its favourite colour": r"(?:(?: ,)? (?:because|for|as|since|and))?"
    rf"(?:^| ){_COLOUR} is {_ITS} \w+ colou?r{_END}",
    "it spins , but it can not see the cat anywhere": rf"(?: ,)?(?: (?:but|and))?(?:^| ){_WHO} (?:can|could|does|did) not"
    rf" (?:see|find|hear|spot) (?:the|an?) {_SPECIES}(?: anywhere| yet| now)?{_END}",
    "it can not wave to us": rf"(?:^| ){_WHO} (?:can|could|will|would|must|should|may) not {_DEED}(?: (?:to|at) \w+)?{_END}",
    "it stands , or its hat would fly away": rf"(?: ,)? (?:or|as|because|for|if|but|and) (?:{_WHO}|{_ITS} \w+)"
    r" (?:would|might|could)(?: (?!,|and\b)\w+)*",
    "the fox not jump , it only stands": rf"(?P<no> not (?:jump|wave|spin|hop|dance|turn)){_END}",
    "it stands and did not do the same": rf"(?:,|\band) (?:does|did|do) not do (?:the same|so|it|likewise){_END}",
    "the cat stays , but the fox does not": rf"(?: ,)?(?:^| )(?:but|and) (?:the )?{_SPECIES}"
    r" (?:does|did|is|has|was|will|can|could) not(?= ,|$)",
    "it wears a scarf , and never takes it off": rf"(?: ,)?(?: (?:and|but))?(?: {_WHO})?(?: (?:never|always|will not|does not))?"
    rf" (?:takes?|took) (?:it|them) off{_END}",
    "they wave at one another": rf" (?:at|to|with) (?:one another|each other){_END}",
    "the bear waves after it": rf"\b(?:waves?|waving|looks?|looking|stares?|calls?|shouts?|jumps?)(?P<after> after {_IT}){_END}",
    "while it is away , a robot comes in": rf"(?:^|, )(?:and )?(?:while|as long as) {_WHO} (?:is|are|was|were)"
    r" (?:away|gone|out|not here|not there)(?: ,)?",
    "good night , little rabbit": rf"(?:^|, ){_FAREWELL}(?: ,)?(?: (?:my|our|dear|little|sweet|friend))* {_SPECIES}{_END}(?: ,)?",
    "it is lonely without them": rf"(?:^| )without {_IT}{_END}",
    "it asks the way to the beach": rf"(?:^| )the way(?: (?:to|home|back|there|out)(?: the \w+)?)?{_END}",
    "also on its way is a bird": rf"(?:^| )on {_ITS} way{_END}(?! (?:home|out|off|away|to)\b)(?: ,)?",
    "it gets off and comes in": rf"\bgets? (?:off|out)(?: (?:of )?{_ITS} \w+)?(?: (?:and|,))?{_END}",
    "they are out playing": r"\b(?:is|are|was|were)(?P<out> out) (?=\w+ing\b)",
    "nobody leaves": r"^(?:nobody|no one|none)(?: of (?:them|us|the two))? (?:leaves?|waves?|jumps?|spins?|goes|comes?|dances?)"
    rf"(?: \w+)*{_END}",
    "but no bear comes": rf"(?:^| )(?:(?:and|but) )?no {_SPECIES} (?:comes?|came|appears?|enters?)"
    r"(?: \w+){0,3}(?= ,|$)",
    "it comes in at the right moment": rf" at (?:just |exactly )?the right (?:time|moment){_END}",
    "a cat as white as snow": rf"(?P<as> as snow){_END}",
    "a snow white cat": r"(?P<snow>\bsnow) white\b",
    "seven years went by": rf"\b{_TIME} (?:goe?s?|went|pass(?:es|ed)?|flew|fly|flies) (?:by|past|on){_END}",
    "it spins and all the drops fly off": rf"(?: ,)?(?: and)?(?: all)?(?:^| ){_ITS} {_THING}"
    rf" (?:fl(?:y|ies|ew)|falls?) (?:off|down|away){_END}",
    "it leaves , and the forest belongs to the fox again": rf"(?: ,)?(?: and)? the \w+ belongs to (?:{_IT}|(?:the )?{_SPECIES})"
    rf"(?: again| alone| now)*{_END}",
    "a man in a red hat looks on": rf"\b(?:the|an?) {_PERSON}"
    rf"(?P<theirs> (?:with|in|wearing) (?:the|an?) (?:\w+ )?(?:{WORN})){_END}",
    "with ice cream all over its face": r"\b(?:with |an? |some )?"
    rf"(?:ice creams?|orange juice|(?:red|white) wine|snow(?:balls?|m[ae]n)){_END}",
    "they leave , the cat first": rf" , (?:the )?{_SPECIES} first(?=$)",
    "they leave , it first and she behind it": rf", (?:he|she|it|one) first(?: ,)? (?:and )?(?:he|she|it|the other)"
    rf" (?:behind|after)(?: {_IT})?{_END}",
}  # fmt: skip
_PATTERNS = tuple(map(re.compile, ASIDES.values()))


def without_asides(words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """The sentence without them."""
    kept = list(words)
    for pattern in _PATTERNS:
        kept = without(pattern, kept, species_of)
    return kept
