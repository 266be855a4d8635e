"""Phrases with alternatives, "(come|walk) in [slowly]", expanded at random; and English verbs in all their forms.

`(a|b)`: one of them. `[a]`: it, or nothing. `*walk`: a verb that takes the clause's form. A sign that is none of these
stands for itself; `{side}` and the like are filled in by whoever asks.
"""

import random
from functools import cache

Node = str | tuple  # a text; ("all", nodes); ("one", nodes)

_IRREGULAR = {
    "be": ("is", "are", "being", "was", "been"),
    "have": ("has", "have", "having", "had", "had"),
    "do": ("does", "do", "doing", "did", "done"),
    "go": ("goes", "go", "going", "went", "gone"),
    "come": ("comes", "come", "coming", "came", "come"),
    "run": ("runs", "run", "running", "ran", "run"),
    "leave": ("leaves", "leave", "leaving", "left", "left"),
    "stand": ("stands", "stand", "standing", "stood", "stood"),
    "sit": ("sits", "sit", "sitting", "sat", "sat"),
    "lie": ("lies", "lie", "lying", "lay", "lain"),
    "sleep": ("sleeps", "sleep", "sleeping", "slept", "slept"),
    "keep": ("keeps", "keep", "keeping", "kept", "kept"),
    "hold": ("holds", "hold", "holding", "held", "held"),
    "spin": ("spins", "spin", "spinning", "spun", "spun"),
    "say": ("says", "say", "saying", "said", "said"),
    "make": ("makes", "make", "making", "made", "made"),
    "take": ("takes", "take", "taking", "took", "taken"),
    "give": ("gives", "give", "giving", "gave", "given"),
    "spring": ("springs", "spring", "springing", "sprang", "sprung"),
    "leap": ("leaps", "leap", "leaping", "leapt", "leapt"),
    "bid": ("bids", "bid", "bidding", "bade", "bidden"),
    "show": ("shows", "show", "showing", "showed", "shown"),
    "think": ("thinks", "think", "thinking", "thought", "thought"),
    "see": ("sees", "see", "seeing", "saw", "seen"),
    "sing": ("sings", "sing", "singing", "sang", "sung"),
    "flee": ("flees", "flee", "fleeing", "fled", "fled"),
    "fly": ("flies", "fly", "flying", "flew", "flown"),
    "creep": ("creeps", "creep", "creeping", "crept", "crept"),
    "sneak": ("sneaks", "sneak", "sneaking", "snuck", "snuck"),
    "find": ("finds", "find", "finding", "found", "found"),
    "get": ("gets", "get", "getting", "got", "got"),
    "throw": ("throws", "throw", "throwing", "threw", "thrown"),
    "slide": ("slides", "slide", "sliding", "slid", "slid"),
    "stick": ("sticks", "stick", "sticking", "stuck", "stuck"),
    "freeze": ("freezes", "freeze", "freezing", "froze", "frozen"),
    "feel": ("feels", "feel", "feeling", "felt", "felt"),
    "dream": ("dreams", "dream", "dreaming", "dreamt", "dreamt"),
    "read": ("reads", "read", "reading", "read", "read"),
    "eat": ("eats", "eat", "eating", "ate", "eaten"),
    "speak": ("speaks", "speak", "speaking", "spoke", "spoken"),
    "tell": ("tells", "tell", "telling", "told", "told"),
    "know": ("knows", "know", "knowing", "knew", "known"),
    "put": ("puts", "put", "putting", "put", "put"),
    "set": ("sets", "set", "setting", "set", "set"),
    "begin": ("begins", "begin", "beginning", "began", "begun"),
    "wear": ("wears", "wear", "wearing", "wore", "worn"),
    "hop": ("hops", "hop", "hopping", "hopped", "hopped"),
    "draw": ("draws", "draw", "drawing", "drew", "drawn"),
    "drive": ("drives", "drive", "driving", "drove", "driven"),
    "burst": ("bursts", "burst", "bursting", "burst", "burst"),
    "catch": ("catches", "catch", "catching", "caught", "caught"),
    "forget": ("forgets", "forget", "forgetting", "forgot", "forgotten"),
}
FORMS = ("s", "plural", "ing", "past", "done", "base")
_DOUBLED = {"skip", "trot", "step", "stop", "pop", "slip", "hum", "nod", "pad", "chat", "plod", "drop", "whirl"} - {
    "whirl"
}


@cache
def inflect(verb: str, form: str) -> str:
    """`form`: s (walks), plural (walk), ing (walking), past (walked), done (has ... walked), base (to ... walk)."""
    if form == "base":
        return verb
    if verb in _IRREGULAR:
        return _IRREGULAR[verb][FORMS.index(form)]
    if form == "plural":
        return verb
    if form == "s":
        if verb.endswith(("s", "sh", "ch", "x", "z")):
            return verb + "es"
        return verb[:-1] + "ies" if verb.endswith("y") and verb[-2] not in "aeiou" else verb + "s"
    stem = verb + verb[-1] if verb in _DOUBLED else verb
    if form == "ing":
        return (stem[:-1] if stem.endswith("e") and not stem.endswith(("ee", "oe", "ye")) else stem) + "ing"
    if stem.endswith("e"):
        return stem + "d"
    return stem[:-1] + "ied" if stem.endswith("y") and stem[-2] not in "aeiou" else stem + "ed"


@cache
def _parse(pattern: str) -> Node:
    node, rest = _alternatives(pattern, 0, "")
    assert rest == len(pattern), f"unbalanced: {pattern}"
    return node


def _alternatives(text: str, at: int, closing: str) -> tuple[Node, int]:
    choices, parts, plain = [], [], at
    while at < len(text):
        sign = text[at]
        if sign in "([":
            parts.append(text[plain:at])
            inner, at = _alternatives(text, at + 1, ")" if sign == "(" else "]")
            parts.append(inner if sign == "(" else ("one", (inner, "")))
            plain = at
        elif closing and sign == closing:
            break
        elif sign == "|":
            parts.append(text[plain:at])
            choices.append(("all", tuple(parts)))
            parts, at, plain = [], at + 1, at + 1
        else:
            at += 1
    parts.append(text[plain:at])
    choices.append(("all", tuple(parts)))
    return (choices[0] if len(choices) == 1 else ("one", tuple(choices))), at + (at < len(text))


def _expand(node: Node, rng: random.Random) -> str:
    if isinstance(node, str):
        return node
    kind, nodes = node
    if kind == "one":
        return _expand(nodes[int(rng.random() * len(nodes))], rng)
    return "".join([_expand(part, rng) for part in nodes])


def expand(pattern: str, rng: random.Random, form: str = "") -> str:
    """One of the pattern's texts, its verbs in this form."""
    text = " ".join(_expand(_parse(pattern), rng).split())
    if "*" in text:
        assert form, f"a verb without a form: {text}"
        text = " ".join(inflect(word[1:], form) if word[0] == "*" else word for word in text.split())
    return text.replace(" ,", ",")


def all_words(pattern: str) -> set[str]:
    """Every word that the pattern may write, verbs in all their forms."""
    found = set()
    for word in pattern.translate(str.maketrans("()[]|,", "      ")).split():
        found |= {inflect(word[1:], form) for form in FORMS} if word[0] == "*" else {word}
    return found
