"""Words that mean something only in the light of the story, put in plain words or left out before a sentence is read."""

import re
from collections.abc import Callable, Sequence

from memflow_cli.models.theatre.language.cast import Member
from memflow_cli.models.theatre.language.reader import Seen
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SIDES
from memflow_cli.models.theatre.language.words import (
    ANY_COLOUR,
    ANY_SPECIES,
    WORN,
    SpeciesOf,
    Vocabulary,
    Word,
    spoken,
    text_of,
    words_of_match,
)

_A_SPECIES = rf"an?(?: \w+){{0,2}}? (?:{ANY_SPECIES})"
_COMPARISON = re.compile(
    rf"\b(?:(?<!would )(?<!something )(?<!what looks )like {_A_SPECIES}|than {_A_SPECIES}|as \w+(?P<as> as {_A_SPECIES})"
    rf"|(?:dream|think)\w* (?P<of>(?:of|about) {_A_SPECIES}))\b"
)


_MISSING = re.compile(rf"\bwithout (?:(?:the|an?|his|her|its) )?(?:\w+ )?(?:{ANY_SPECIES})\b(?: ,)?")
_WORN = rf"(?:{WORN})"
_NOT_WORN = re.compile(
    rf"\b(?:with|wearing) (?:neither|no) (?:\w+ )?{_WORN}(?: (?:nor|and|or)(?: with)?(?: no| an?)? (?:\w+ )?{_WORN})?\b"
    rf"|(?:^|, )(?:and |but )?no (?:\w+ )?{_WORN}(?= ,| and| or|$)"
    rf"|(?<!\bone )\bwithout (?:an?|any) {_WORN}(?: (?:nor|and|or)(?: an?| any)? {_WORN})?\b"
    r"|(?:(?:(?: ,)? (?:and|but))?(?:^| )(?:it|he|she))? (?:has|have|had|does|did|is|was) not (?:(?:got|have|wear|wearing) )?"
    rf"(?:an?|any) (?:\w+ )?{_WORN}\b"
    rf"|(?:(?:(?: ,)? (?:and|but))? (?:it|he|she))? (?:has|had|wears?|wore) no (?:\w+ )?{_WORN}\b"
)
_ITS = r"(?:its|his|her|their|the|an?)"
_DRESSING = re.compile(
    rf"\b(?:(?:takes?|took|taking) off|(?:puts?|putting) on)(?= {_ITS} (?:\w+ )?{_WORN}s?\b)"
    rf"|\b(?:takes?|took|taking|puts?|putting)(?P<what> {_ITS} (?:\w+ )?{_WORN}s?) (?:off|(?:back )?on)\b"
    rf"(?! the (?:{ANY_SPECIES}))"
)
_KIND = "|".join(ACCESSORIES)
_ONE = rf"(?:(?:{ANY_COLOUR}|more) )?(?:{ANY_SPECIES})"
_SEEN = (
    r"(?:(?:behind|near|before|beside|in front of) (?:it|him|her|them)"
    r"|to be seen|there|here|in sight|in view|around|visible|anywhere|any ?more|now)"
)
_CLAUSE_ENDS = r"(?=(?: (?:in|on|at|by) the \w+)?(?:$| ,| but\b| only\b| and the\b))"
_NOT_THERE = re.compile(
    r"(?:(?:^|, )(?:(?:but|and|then|now) )?(?:there (?:is|are) )?|\b(?:but|and) (?:there (?:is|are) )?"
    r"|\bthere (?:is|are) |(?<=\bsee ))"
    rf"(?:(?P<who>no {_ONE}(?: (?:and|or|nor) (?:(?:no|any) )?{_ONE})?"
    rf"|neither (?:(?:the|an?) )?{_ONE}(?: (?:and|or|nor) (?:(?:the|an?) )?{_ONE}){{1,2}})(?: (?:is|are|was|were))?(?: {_SEEN})*"
    rf"|neither of (?:them|the two|both) (?:is|are)(?: still)?(?: {_SEEN})+){_CLAUSE_ENDS}"
)
_NO_STRANGER = re.compile(
    r"(?:(?:^|, )(?:(?:but|and|then|now) )?|\b(?:but|and) )(there (?:is|are|was|were) )?(?:no|not an?) (?:other )?"
    rf"(?!(?:{ANY_COLOUR}|{ANY_SPECIES}|one|body|soul|longer|more|sooner|matter|sign|trace|\w+thing)\b)\w+"
    rf"(?: (?:is|are|was|were))?(?(1)(?: {_SEEN})*|(?: (?:to be )?{_SEEN})+){_CLAUSE_ENDS}"
)
_MEETS = (
    r"meets?|met|greets?|greeted|welcomes?|welcomed|finds?|found|discovers?|discovered|encounters?|encountered|notices?|noticed"
    r"|spots?|spotted|sees?|saw|(?:bump|run|ran|bumps|runs|bumped) into|(?:comes?|came) across|(?:waves?|waved) (?:to|at)"
    r"|(?:says?|said) (?:hello|hi) to|joined by|visited by|(?:makes?|made) friends with"
)
_ITS_THINGS = (
    "s|nests?|holes?|houses?|toys?|feathers?|footprints?|tracks?|box|can|bottle|coin|costume|mask|suit|tail|book|picture|statue|song|egg"
    "|food|bowl|basket|bed|cage|part|screw"
)
_MET = re.compile(
    rf"\b(?:{_MEETS}) an?(?P<about>(?: \w+){{0,3}}?) (?P<who>{ANY_SPECIES})\b(?! (?:{_ITS_THINGS})\b)"
    rf"(?: (?:with|wearing|in) an? (?P<worn_colour>{ANY_COLOUR}) (?P<worn>{_KIND})\b)?"
)
# Words near to a species' in meaning, which are none where somebody finds or meets them.
_NO_SPECIES = {
    "metal",
    "mechanical",
    "tin",
    "plastic",
    "copper",
    "iron",
    "steel",
    "animal",
    "app",
    "tablet",
    "computer",
}
_NO_SPECIES |= {"frog", "rat", "beak", "cotton"}
_NOT_MET = re.compile(
    r"\b(?:not|never|no|nobody|none|neither|cannot|n't|if|would|could|might|may|wants?|hopes?|hoping|wishes|wishing|dreams?"
    r"|dreaming|remembers?|imagines?|had|used|tomorrow|yesterday|likes? to|like to|far away|distance)\b"
)
_OF_COLOUR = re.compile(rf"\b(?:(?:an?|the) )?(?P<kind>{_KIND}) of (?P<colour>{ANY_COLOUR})(?: colou?r)?\b")
_GREETED = re.compile(
    rf"\b(?:the (?:{ANY_SPECIES})|it|he|she) (?:is|was|gets|got) (?:greeted|saluted|welcomed|waved (?:at|to))"
    rf"(?: with (?:an? )?(?:\w+ )?wave)? by (?P<who>the (?:{ANY_SPECIES}))(?: with (?:an? )?(?:friendly )?wave)?\b"
)
_MINDED = re.compile(
    rf"\b(?:the (?:{ANY_SPECIES})|it|he|she) (?:is|was) (?:missed|watched|remembered|admired|observed|loved|seen|noticed) by "
    rf"(?=the (?:{ANY_SPECIES})\b)"
)
_ONE_OF_THEM = re.compile(rf"\b(?:only )?one of (?:them|the two|both) , (?P<who>the (?:{ANY_SPECIES}))(?: ,)?(?!\S)")
_EARLIER = re.compile(
    r"(?: ,)? (?:that|which|who) (?:had (?:just )?)?\w+(?: \w+)? (?:before|earlier|a moment ago|just now|a while ago)\b(?: ,)?"
)
_SINCE_GONE = re.compile(
    rf"^(?:after|when|once|now that|as soon as) (?P<who>(?:the )?(?:{ANY_SPECIES})) (?:has|had|is|was) (?:left|gone)"
    r"(?: \w+){0,5} ,"
)
_ALIKE = re.compile(
    r"\b(?:does|do|did) (?:(?:just|exactly) )?(?:the (?:very )?same(?: thing)?|it too|so too|that too|likewise)\b"
    r"|\b(?:does|did) (?:too|as well|also)$|\b(?:responds?|answers?|repl(?:y|ies)) in kind\b"
    r"|\b(?:tries|tried|copies|copied|repeats|imitates|does|did) (?:it|that|him|her|them)(?: too| as well| also)?(?= ,|$)"
)
_GOES_TOO = re.compile(r"\bgoes (?:too|as well|also)(?= ,|$)")
_SO_DOES = re.compile(rf"(?:^|(?<=, )|(?<=and ))(?:and )?so (?:does|do|did) (?P<who>the (?:{ANY_SPECIES}))\b")
_SPUN = re.compile(r"\b(?:wind|gust|gust of wind|breeze|storm|music) (?:spins|turns|whirls) (?:it|him|her)\b")
_GONE_TO = re.compile(
    r"\b(?:(?:(?:has|have|is|are) (?:gone|moved|travelled|been taken)|went|moved|travelled)(?: (?:away|off|over))?) (?:in)?to"
    rf"(?= (?:an?|the) (?!(?:{'|'.join(SIDES)}|other|opposite|same|far)\b))"
)
_SAME = re.compile(
    rf"\b(?:an?|the) (?:very )?(?:same|similar|matching|identical) (?P<same>{_KIND})\b"
    rf"|\b(?:an?|the) (?P<worn>{_KIND}) of the same colou?r\b|\b(?P<article>an?|the) (?P<who>{ANY_SPECIES}) of the same colou?r\b"
)
_TURNS_BLUE = re.compile(rf"\b(?:turns?|goes|becomes?|turned) (?P<colour>{ANY_COLOUR})(?= ,|$| and\b)")
_HAT_THAT_IS_BLUE = re.compile(
    rf"\b(?P<kind>{_KIND}) (?:that|which) (?:is|was) (?P<colour>{ANY_COLOUR})\b"
    rf"|(?: ,)? whose (?P<whose>{_KIND}) (?:is|was) (?P<their>{ANY_COLOUR})\b"
    rf"|, (?:its|his|her) (?P<its>{_KIND}) (?P<own>{ANY_COLOUR})\b"
)
_A_GREEN_ONE = re.compile(
    rf"\b(?P<who>{ANY_SPECIES})(?P<where>(?: (?!and\b|but\b)\w+){{0,5}}) , an? (?P<colour>{ANY_COLOUR}) one\b(?: ,)?"
)
_REFERENCE = re.compile(
    rf"\bthe (?:(?P<place>left|right) (?:one|puppet|animal)|(?:one|puppet|animal|figure|friend)"
    rf"(?: standing| who is)? (?:on|at) the (?P<at>left|right)|one without (?:the|an?) (?P<lacks>{_KIND})"
    rf"|(?P<rank>former|latter|(?:first|second)(?= one))(?: one)?|(?P<colour>{ANY_COLOUR}) one|one (?:wearing|with|in"
    rf"|(?:who|that) (?:wears|has|is in|is wearing)) (?:the|an?|her|his|its) (?:(?P<worn_colour>{ANY_COLOUR}) )?"
    rf"(?P<kind>{_KIND}))\b"
)

_DEEDS = {"jump": "jumps", "wave": "waves", "spin": "spins", "walk": "walks", "leave": "leaves", "enter": "arrives"}
_AFTER_VERBS = (
    r",|and|then|to|at|up|down|in|on|off|out|over|away|back|around|about|round|from|for|with|the|a|an|his|her|its|it|us|high"
    r"|once|twice|again|\w+ly"
)
_NO_VERBS = r"\w+thing|this|is|was|has|his|its|as|us|yes|always|perhaps|morning|evening|during|being"


def without_comparisons(words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """Whom somebody is like, bigger than or dreams of does not come in: "hops like a rabbit"."""
    return without(_COMPARISON, words, species_of)


def without_what_is_not_worn(words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """What a newcomer does not wear is no news: "a cat, with neither hat nor scarf"."""
    return without(_NOT_WORN, words, species_of)


def without_dressing(words: Sequence[Word], species_of: SpeciesOf, vocabulary: Vocabulary) -> list[Word]:
    """Who takes a hat off stays, and is seen as before, for theatre undresses nobody; who puts one on wears it."""
    return _with_words_for(
        _DRESSING, lambda match: ["wears", *(match["what"] or "").split()], words, species_of, vocabulary
    )


def where_they_have_gone(words: Sequence[Word], species_of: SpeciesOf, vocabulary: Vocabulary) -> list[Word]:
    """After a cut, who "has gone to the desert" is in the desert. Who has gone to a side is not."""
    return _with_words_for(_GONE_TO, lambda match: ["is", "in"], words, species_of, vocabulary)


def in_active_words(words: Sequence[Word], species_of: SpeciesOf, vocabulary: Vocabulary) -> list[Word]:
    """Who is greeted by the robot does not wave, the robot does; and what somebody did earlier is not done again.

    "One of them, the cat," is the cat.
    """
    words = _with_words_for(_ONE_OF_THEM, lambda match: match["who"].split(), words, species_of, vocabulary)
    greets = _with_words_for(_GREETED, lambda match: [*match["who"].split(), "waves"], words, species_of, vocabulary)
    return without(_EARLIER, without(_MINDED, greets, species_of), species_of)


def with_what_was_done(
    words: Sequence[Word],
    deed_in: Callable[[Sequence[Word]], str | None],
    last_deed: str | None,
    species_of: SpeciesOf,
    vocabulary: Vocabulary,
) -> list[Word]:
    """ "The robot does the same" does what was done last, in the words before it or in the story, both verbs of `ACTIONS`."""

    def instead(match: re.Match[str]) -> list[str]:
        deed = deed_in(words[: words_of_match(match).start]) or last_deed
        who = match["who"].split() if match.re is _SO_DOES else []
        return [*who, _DEEDS[deed]] if deed in _DEEDS else match[0].split()

    words = _with_words_for(_SPUN, lambda match: [",", "it", "spins"], words, species_of, vocabulary)
    words = _with_words_for(_GOES_TOO, lambda match: ["leaves"], words, species_of, vocabulary)
    for pattern in (_ALIKE, _SO_DOES):
        words = _with_words_for(pattern, instead, words, species_of, vocabulary)
    return words


def with_colour_first(words: Sequence[Word], species_of: SpeciesOf, vocabulary: Vocabulary) -> list[Word]:
    """ "A fox, a green one" is a green fox, and "a hat of blue colour" a blue hat."""

    def instead(match: re.Match[str]) -> list[str]:
        return [match["colour"], match["who"], *match["where"].split()]

    def worn(match: re.Match[str]) -> list[str]:
        if match["kind"]:
            return [match["colour"], match["kind"]]
        return ["with", "a", match["their"] or match["own"], match["whose"] or match["its"]]

    words = _with_words_for(_TURNS_BLUE, lambda match: ["is", match["colour"]], words, species_of, vocabulary)
    words = _with_words_for(_HAT_THAT_IS_BLUE, worn, words, species_of, vocabulary)
    fox = _with_words_for(_A_GREEN_ONE, instead, words, species_of, vocabulary)
    return _with_words_for(_OF_COLOUR, lambda match: ["a", match["colour"], match["kind"]], fox, species_of, vocabulary)


def with_the_same_looks(
    words: Sequence[Word], members: Sequence[Member], species_of: SpeciesOf, vocabulary: Vocabulary
) -> list[Word]:
    """ "A bird with the same hat", "a fox of the same colour": the colour is said, where one alone can be meant."""

    def instead(match: re.Match[str]) -> list[str]:
        kind = match["same"] or match["worn"]
        known = {member.worn[1] for member in members if member.worn and member.worn[0] == kind} if kind else set()
        known |= {member.colour for member in members if match["who"] and member.species != match["who"]}
        colour = known.pop() if len(known) == 1 else None
        return [match["article"] or "a", colour, kind or match["who"]] if colour else match[0].split()

    return _with_words_for(_SAME, instead, words, species_of, vocabulary)


def _with_words_for(
    pattern: re.Pattern[str],
    instead: Callable[[re.Match[str]], list[str]],
    words: Sequence[Word],
    species_of: SpeciesOf,
    vocabulary: Vocabulary,
) -> list[Word]:
    plain = list(words)
    for match in reversed(list(pattern.finditer(spoken(words, species_of)))):
        plain[words_of_match(match)] = map(vocabulary.word, instead(match))
    return plain


def without_the_missing(words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """Without whom somebody is there after a cut is not there: "without the cat, the fox stands in the desert"."""
    return without(_MISSING, words, species_of)


def without_strangers(words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """That no stranger is there is no news of those who are: "there is no dragon here", "no wolf is to be seen"."""
    return without(_NO_STRANGER, words, species_of)


def who_is_gone(
    words: Sequence[Word], present: Sequence[str], species_of: SpeciesOf
) -> tuple[list[Word], list[tuple[str, str]]]:
    """What a sentence says besides, and who it says is not there, (species, colour or ""): "neither fox nor bird is to be seen",
    "we see the bird, but no fox". `present`: those on stage, who are "neither of them".
    """
    rest, gone = list(words), list[tuple[str, str]]()
    found = [*_NOT_THERE.finditer(spoken(words, species_of)), *_SINCE_GONE.finditer(spoken(words, species_of))]
    for match in sorted(found, key=lambda match: match.start(), reverse=True):
        named = re.findall(rf"(?:({ANY_COLOUR}) )?\b({ANY_SPECIES})\b", match["who"] or "")
        gone += [(species, colour) for colour, species in named] if named else [(species, "") for species in present]
        rest[words_of_match(match)] = []
    return rest, gone


def who_is_met(words: Sequence[Word], species_of: SpeciesOf) -> list[Seen]:
    """Whom somebody meets, and how they look: "the cat meets a fox", "it is joined by a red bear in a blue hat"."""
    text = spoken(words, species_of)
    if _NOT_MET.search(text):
        return []
    met = []
    for match in _MET.finditer(text):
        named = words[words_of_match(match, "who")][0].known_as
        if named in _NO_SPECIES:
            continue
        colour = next((word for word in match["about"].split() if word in COLOURS), None)
        worn = (match["worn"], match["worn_colour"]) if match["worn"] else None
        met.append(Seen(match["who"], colour, worn, False))
    return met


def without(pattern: re.Pattern[str], words: Sequence[Word], species_of: SpeciesOf) -> list[Word]:
    """The words without what is found; of a pattern that has a named group, without what that matched alone."""
    kept = list(words)
    for match in reversed(list(pattern.finditer(spoken(words, species_of)))):
        kept[words_of_match(match, match.lastgroup or 0)] = []
    return kept


def with_species(
    words: Sequence[Word], members: Sequence[Member], species_of: SpeciesOf, vocabulary: Vocabulary
) -> list[Word]:
    """ "The latter", "the red one", "the one in the hat" become the species of the member that is meant, if one is.

    `members`: in the order in which they were told of.
    """
    plain = list(words)
    names_nobody = all(species_of(word) is None for word in words)
    for match in reversed(list(_REFERENCE.finditer(spoken(words, species_of)))):
        kind, colour, rank = match["kind"], match["colour"] or match["worn_colour"], match["rank"]
        if place := match["place"] or match["at"]:
            meant = [member for member in members if member.place == place]
        elif match["lacks"]:
            meant = [member for member in members if not member.wears(match["lacks"], None)]
        elif rank:
            meant = [members[rank in ("latter", "second")]] if names_nobody and len(members) == 2 else []
        elif kind:
            meant = [member for member in members if member.wears(kind, colour)]
        else:
            meant = [member for member in members if member.colour == colour]
        if len(meant) == 1:
            species = meant[0].species
            places = words_of_match(match)
            plain[places.start + 1 : places.stop] = [vocabulary.word(species)]
    return plain


def lacks_subject(words: Sequence[Word], ending: str = "s|ing") -> bool:
    """Whether a sentence begins as one does that says what somebody does, and not who: "Then waves.", "Jumping up and down".

    "Waves crash" has a subject: another verb follows it.
    """
    text = text_of(words)
    then = r"(?:(?:,|and|then|now|again|suddenly) )*"
    return re.match(rf"{then}(?!(?:{_NO_VERBS})\b)\w+(?:{ending})(?:$| (?:{_AFTER_VERBS})(?!\S))", text) is not None
