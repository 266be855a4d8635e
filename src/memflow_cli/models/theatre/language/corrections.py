"""What the network reads of a sentence, corrected where a word of it or the story tells better."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from memflow_cli.models.theatre.language.cast import Member
from memflow_cli.models.theatre.language.reader import NOTHING_READ, Reading, Seen
from memflow_cli.models.theatre.language.trained_captions import TrainedCaption
from memflow_cli.models.theatre.language.words import ANY_SPECIES, Word, text_of

_ARRIVES = re.compile(r"\b(to|into|stands?|standing|waits?|waiting)\b")
_TWO = re.compile(r"\b(they|both|two|everybody|everyone|all)\b")
_BACK = re.compile(r"\b(back|again|here|returns?|returned|meets?|met)\b")
_ONE_BACK = re.compile(
    r"^(?:(?:\w+|,) ){0,6}?(?:(?:there|here) (?:it|he|she) comes\b|(?:it|he|she|the other(?: one)?)"
    r" (?:(?:is|was) (?:back|here again|there again)|(?:comes?|came) back|has come back|returns?|returned|has returned)\b)"
)
_NOT_BACK = re.compile(r"\b(not|never|neither)( \w+)? (back|here|there|again)\b")
_DESERT = re.compile(r"\b(deserts?|dunes?|cact\w+|sahara|nothing)\b")
_THEY = re.compile(
    r"^(?:(?:and|but|then|now|later|suddenly|happily|,) )*(?:they|both|the two|together they|everyone|everybody)\b"
)
_ONE_LEAVES = re.compile(
    r"\b(?:(?:it|he|she) (?:leaves|left|exits|goes|walks|runs|hops|is (?:leaving|gone|off|away))"
    r"|(?:off|there|away|out) (?:it|he|she) goes)\b"
)
_ASKS = re.compile(
    r"^(?:(?:and|but|so|oh|now|,) )*(?!what about|how about|(?:who|what) (?:comes|is (?:that|this|it|coming)) )"
    r"(?:where|who|whose|what|when|how|which|should|does|did)\b"
)
_EMPTY = re.compile(
    r"\b(?:empty|deserted|gone|away|left|leaves?|quiet|nothing|soul|alone|lonely|silent|still|abandoned|bare|without|only|just|out|off|home"
    r"|(?:nobody|no one|none|neither)(?: of (?:them|the two))?(?: (?:is|was|are|were|remains|left|there|here|in|on|at|to)\b|$)"
    r"|no (?!one\b)\w+)\b"
)
_STAYS = re.compile(
    r"\b(?:(?:dozes?|nods?|shows?) off|looks? (?:away|out|back|past|through|on)|go(?:es)? (?:quiet|wild|on)|slips? on"
    r"|(?:peeks?|peers?|takes?|took|holds?|reach(?:es)?|calls?|cries|laughs?|finds?|found) out"
    r"|(?:leaves?|left) (?:an?|its|his|her|their|footprints|tracks|nothing|everything|no|the door)\b.*"
    r"|(?:waves?|points?|turns?|looks?|nods?) to the (?:left|right)|on (?:the|its|his|her|an?|their|top)\b)"
)
_ABSENT = re.compile(
    r"\b(?:gone|away|vanish\w*|disappear\w*|missing|nowhere|alone|only|without|lost|left|leav\w+|nobody|no one|out|off|home"
    r"|neither|never|not (?:there|here|back|to be seen|in)|no \w+)\b(?<!no longer)|\bno longer (?:there|here|in|on|to be seen)\b"
)
_FOLLOWS = re.compile(r"\b(?:behind|after|with) (?:it|him|her)\b|\b(?:too|as well|also|follow\w*)\b")
_LEAVES = re.compile(
    r"\b(?:(?<!the )leav\w*|exit\w*|depart\w*|g[eo]|goes|went|going|gone|off|away|out|home|back|past|through|on|vanish\w*"
    r"|disappear\w*|retire\w*|withdraw\w*|retreat\w*|escap\w*|flee\w*|fled|bye|goodbye|farewell|quit\w*|return\w*|head\w*"
    r"|(?<!the )(?<!the far )left|to (?:the|its|his|her|their|one) \w+|cross\w*|follow\w*|absent|missing|no (?:more|longer)"
    r"|lose|remove|walk\w*|run\w*|ran|hurr\w*|fl[ie]\w*|flew|sneak\w*|slip\w*|march\w*|wander\w*|stroll\w*|trot\w*|hop\w*|step\w*|sail\w*)\b"
)
_ONE_OF_TWO = rf"(?:the )?(?:{ANY_SPECIES})"
_ONE_OF_THEM = re.compile(r"\bone of (?:them|the two|both|the (?!two\b)\w+s)\b")
_DENIES = re.compile(
    r"\b(?:no|not|without|never|nobody|nothing|like|than|of|for|once|dream\w*|think\w*|story|tale|about|\w+ s)\b"
)
_JOINT_SUBJECT = re.compile(
    rf"^(?:(?:then|now|so|and|,) )*{_ONE_OF_TWO} and {_ONE_OF_TWO} (?!.*\b(?:and|while|but|then|first)\b)"
)
_EACH_OTHER = re.compile(r"\b(?:each|one an?) ?other\b")
_ONE_OR_OTHER = re.compile(r"\b(it|he|she|his|her|him|one|other|first|second|former|latter)\b")
_ONE_OR_NONE = re.compile(r"\b(it|he|she|not|never|nobody|no|one)\b")


def is_there(acts: Sequence[tuple[str, str]]) -> bool:
    """Whether who does this is there afterwards."""
    return acts[-1][0] not in ("leave", "absent")


def of_those_named(reading: Reading, known: Iterable[str], named: Iterable[str]) -> Reading:
    """Nobody new comes into a story who is not named: what the reader takes for somebody else's is left out."""
    strangers = reading.acts.keys() - set(known) - set(named)
    return replace(reading, acts={who: acts for who, acts in reading.acts.items() if who not in strangers})


def with_those_met(reading: Reading, met: Sequence[Seen], known: Mapping[str, Member], named: Iterable[str]) -> Reading:
    """Whom somebody on stage meets is there as well. `named`: by the sentence."""
    present = {species for species, member in known.items() if member.is_on_stage}
    acts, colours, worn = dict(reading.acts), dict(reading.colours), dict(reading.worn)
    for one in met:
        if one.species in present or (one.species in acts and is_there(acts[one.species])):
            continue
        those_who_meet = [species for species in named if species in present and species not in acts]
        acts |= dict.fromkeys([*those_who_meet, one.species], (("idle", ""),))
        colours |= {one.species: one.colour} if one.colour else {}
        worn |= {one.species: one.worn} if one.worn else {}
    return replace(reading, acts=acts, colours=colours, worn=worn)


def with_somebody_there(reading: Reading, words: Sequence[Word], present: Sequence[str]) -> Reading:
    """A stage where somebody is told to be, or nobody else ("nobody else is there"), is not empty; nor is one on which somebody
    was, without a word for it ("nobody waves").
    """
    somebody = any(map(is_there, reading.acts.values())) or (bool(present) and not _EMPTY.search(text_of(words)))
    is_empty = reading.is_empty and not somebody and all(word.known_as != "else" for word in words)
    return replace(reading, is_empty=is_empty)


def arrived(reading: Reading, words: Sequence[Word]) -> Reading:
    """After a cut: who "has gone to the desert" is there. Exits that have a side are exits."""
    gone = [acts for acts in reading.acts.values() if not is_there(acts)]
    has_side = any(way for acts in gone for _, way in acts)
    if reading.setting is None or len(gone) < len(reading.acts) or has_side or not _ARRIVES.search(text_of(words)):
        return reading
    return replace(reading, acts=dict.fromkeys(reading.acts, (("idle", ""),)), is_empty=reading.is_empty and not gone)


def without_who_is_not_back(reading: Reading, words: Sequence[Word]) -> Reading:
    """Of who "is not back" nothing is told that is to be seen."""
    if not _NOT_BACK.search(text_of(words)):
        return reading
    return replace(reading, acts={who: acts for who, acts in reading.acts.items() if acts[-1][0] != "enter"})


def without_who_is_gone(reading: Reading, gone: Iterable[tuple[str, str]], known: Mapping[str, Member]) -> Reading:
    """Who is told not to be there, (species, colour or ""), is absent, if the story knows them so."""
    absent = {who: (("absent", ""),) for who, colour in gone if who in known and colour in ("", known[who].colour)}
    return replace(reading, acts=reading.acts | absent) if absent else reading


def on_the_sand(reading: Reading, words: Sequence[Word], setting: str | None) -> Reading:
    """A beach has sand, too: who stands "on the sand" there is not in the desert."""
    is_sand = setting == "beach" and reading.setting == "desert" and "sand" in text_of(words).split()
    return replace(reading, setting=None) if is_sand and not _DESERT.search(text_of(words)) else reading


def one_back(reading: Reading, words: Sequence[Word], known: Mapping[str, Member]) -> Reading:
    """ "He's back", "the other one returns": the only one who has gone is meant, whoever told of last is there."""
    away = [species for species, member in known.items() if member.was_seen and not member.is_on_stage]
    comes = {species for species, acts in reading.acts.items() if any(verb == "enter" for verb, _ in acts)}
    if len(away) != 1 or away[0] in comes or not _ONE_BACK.search(text_of(words)) or _NOT_BACK.search(text_of(words)):
        return reading
    acts = {who: acts for who, acts in reading.acts.items() if who not in comes and acts != (("idle", ""),)}
    return replace(reading, acts=acts | {away[0]: (("enter", ""),)}, is_empty=False)


def both_there(reading: Reading, words: Sequence[Word], two: Sequence[str], cut: bool) -> Reading:
    """ "They are back", "both meet", after a cut "both are in the forest": where fewer are on stage, `two` are meant, and do
    alike, or just come.
    """
    text = text_of(words)
    said = [acts for acts in reading.acts.values() if is_there(acts)]
    is_exit = bool(reading.acts) and not said
    if len(two) < 2 or is_exit or not (_TWO.search(text) and (cut or _BACK.search(text))) or _ONE_OR_NONE.search(text):
        return reading
    acts = {species: reading.acts.get(species, said[0] if said else (("enter", ""),)) for species in two}
    return replace(reading, acts=acts, is_empty=False)


def one_leaves(reading: Reading, words: Sequence[Word], mentions: Mapping[str, int], left: Iterable[str]) -> Reading:
    """ "There it goes" is said of one: of who has `left` earlier in the prompt, or else of who is named before.

    `mentions`: the place of the first word that names each species.
    """
    match = _ONE_LEAVES.search(text_of(words))
    leaving = {who for who, acts in reading.acts.items() if acts[-1][0] == "leave"}
    if match is None or _FOLLOWS.search(text_of(words)):
        return reading
    place = match.string[: match.start()].count(" ")
    meant = set(left) or {who for who in leaving if mentions.get(who, place) < place}
    return _without_deeds(reading, {"leave"}, leaving - meant) if meant else reading


def unanswered(reading: Reading, words: Sequence[Word], known: Iterable[str], present: Iterable[str]) -> Reading:
    """A question that asks what is not known tells nothing: "where is your hat?", "does it go?". It is about those it names."""
    if not _ASKS.search(text_of(words)):
        return reading
    asked = {who: (("idle" if who in present else "absent", ""),) for who in reading.acts if who in known}
    return replace(NOTHING_READ, acts=asked)


def leaves_if_told(reading: Reading, words: Sequence[Word]) -> Reading:
    """Nobody leaves, or is gone, without a word that may say so: "has lost its way", "looks away", "does not see it"."""
    text = _STAYS.sub("", text_of(words))
    untold = {verb for verb, told in (("leave", _LEAVES), ("absent", _ABSENT)) if not told.search(text)}
    return _without_deeds(reading, untold, reading.acts)


def _without_deeds(reading: Reading, verbs: Collection[str], whose: Iterable[str]) -> Reading:
    """Whoever does nothing else is there all the same."""
    rest = {who: tuple(act for act in reading.acts[who] if act[0] not in verbs) for who in whose}
    return replace(reading, acts=reading.acts | {who: acts or (("idle", ""),) for who, acts in rest.items()})


def alike(reading: Reading, words: Sequence[Word], named: Iterable[str], present: Sequence[str]) -> Reading:
    """What "they" do in a sentence that names nobody, both do who are `present`: "the two of them wave and leave". And what
    "the cat and the bird" do, both do.
    """
    text, named = _EACH_OTHER.sub("", text_of(words)), list(named)
    they = present if not named and _THEY.search(text) else named if _JOINT_SUBJECT.search(text) else ()
    if not reading.acts or len(they) != 2 or _ONE_OR_OTHER.search(text):
        return reading
    fullest = max(reading.acts.values(), key=lambda acts: (len(acts), acts[0][0] != "idle"))
    worn = reading.worn
    if named and len(worn) == 1 and any(word.written.endswith(("hats", "scarves", "scarfs")) for word in words):
        worn = dict.fromkeys(they, *worn.values())
    return replace(reading, acts=dict.fromkeys([*reading.acts, *they], fullest), worn=worn)


def one_of_them(reading: Reading, words: Sequence[Word], recent: Sequence[str]) -> Reading:
    """ "One of them leaves" is said of the one told of last, where nobody is named."""
    if len(reading.acts) < 2 or not _ONE_OF_THEM.search(text_of(words)):
        return reading
    one = next((who for who in recent if who in reading.acts), None)
    return replace(reading, acts={who: acts for who, acts in reading.acts.items() if who == one})


def with_who_is_named(reading: Reading, words: Sequence[Word], named: Iterable[str]) -> Reading:
    """Of whom alone a first sentence tells is there, whatever of it was understood: "three birds sing"."""
    named = list(named)
    if reading.acts or len(named) != 1 or _DENIES.search(text_of(words)):
        return reading
    return replace(reading, acts={named[0]: (("idle", ""),)}, is_empty=False)


def reading_of(caption: TrainedCaption) -> Reading:
    """A trained caption as the reader would have read it."""
    acts = {
        species: (("enter" if verb == "return" else verb, side or ""),) for species, _, _, verb, side in caption.clauses
    }
    colours = {species: colour for species, colour, *_ in caption.clauses if colour}
    worn: dict[str, tuple[str, str | None]] = {species: worn for species, _, worn, *_ in caption.clauses if worn}
    return Reading(acts, colours, worn, caption.setting, caption.is_empty, {})
