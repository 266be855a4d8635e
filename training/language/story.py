"""Sentences of plain English with what they mean: who does what, looks, where, and whether anybody is there.

A sentence is written into a context: the puppets that the story knows, most recently mentioned first, and who of them is on stage.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from memflow_cli.models.theatre.reader import Seen
from memflow_cli.models.theatre.vocabulary import ACCESSORIES, COLOURS, SETTINGS, SIDES, SPECIES
from training.language import phrases
from training.language.patterns import all_words, expand

NOWHERE = ""


@dataclass
class Example:
    """A sentence and what it says. `acts`: of each puppet told of, (verb, side) in order; verbs as in VERBS."""

    known: tuple[Seen, ...]
    known_setting: str | None
    text: str = ""
    acts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    worn: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # species -> accessory, its colour
    setting: str | None = None
    is_empty: bool = False
    names: dict[str, str] = field(default_factory=dict)  # a word that names somebody -> species


@dataclass(frozen=True)
class Subject:
    text: str
    species: tuple[str, ...]
    pronoun: str = "it"
    is_plural: bool = False

    @property
    def poss(self) -> str:
        return {"it": "its", "he": "his", "she": "her"}.get(self.pronoun, "their")


class Writer:
    """Writes examples at random. `noise`: words without meaning here, met as adjectives, things, verbs and names.

    `misspelled`: the share of sentences with a wrong letter.
    """

    def __init__(self, seed: int | str, noise: Sequence[str] = (), misspelled: float = 0.05) -> None:
        self.rng = random.Random(seed)
        self.noise = noise
        self.misspelled = misspelled

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def pick(self, choices):
        return choices[int(self.rng.random() * len(choices))]

    def example(self) -> Example:
        known = self._context()
        self.it = Example(known, self.pick(list(SETTINGS)) if known or self.chance(0.3) else None)
        self.used: set[str] = set()
        kinds = (
            (self._one_acts, 40), (self._one_acts_twice, 12), (self._two_act, 14), (self._both_act, 7), (self._nobody, 9),
            (self._only_place, 5), (self._there_is, 6), (self._looks, 4), (self._nothing, 6), (self._gone, 3),
            (self._stays_alone, 3), (self._not_doing, 3), (self._two_there, 5), (self._meets, 4), (self._stranger, 4), (self._follows, 3), (self._elliptical, 4), (self._only_one_acts, 2),
            (self._looks_on, 6), (self._just_stands, 3), (self._look_by_look, 3), (self._bare_pair, 2),
        )  # fmt: skip
        write = self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
        text = write()
        self.it.text = self._finish(text)
        return self.it

    # contexts and names of things

    def _context(self) -> tuple[Seen, ...]:
        count = self.rng.choices((0, 1, 2, 3, 4), (25, 30, 34, 8, 3))[0]
        free, known = 2, []
        for species in self.rng.sample(SPECIES, count):
            on_stage = free > 0 and self.chance(0.62)
            free -= on_stage
            worn = (self.pick(ACCESSORIES), self.pick(COLOURS)) if self.chance(0.5) else None
            known.append(Seen(species, self.pick(COLOURS) if self.chance(0.95) else None, worn, on_stage))
        return tuple(known)

    @property
    def _on_stage(self) -> list[Seen]:
        return [puppet for puppet in self.it.known if puppet.is_on_stage]

    def _fresh(self) -> str:
        taken = {puppet.species for puppet in self.it.known} | self.used
        species = self.pick([species for species in SPECIES if species not in taken])
        self.used.add(species)
        return species

    def _adjective(self) -> str:
        if self.noise and self.chance(0.3):
            return self.pick(self.noise)
        return expand(phrases.ADJECTIVES, self.rng)

    def _colour(self, colour: str) -> str:
        if colour in phrases.NOT_PAINTED and self.chance(0.05):
            return expand(phrases.NOT_PAINTED[colour], self.rng)
        return expand(phrases.COLOURS[colour], self.rng)

    def _species(self, species: str) -> str:
        return expand(phrases.SPECIES[species], self.rng)

    def _name(self, species: str) -> str:
        name = self.pick(phrases.NAMES) if not self.noise or self.chance(0.6) else self.pick(self.noise).capitalize()
        self.it.names[name.lower()] = species
        return f"{expand(phrases.TITLES, self.rng)} {name}" if self.chance(0.08) else name

    def _thing(self) -> str:
        return self.pick(self.noise) if self.noise and self.chance(0.4) else expand(phrases.THINGS, self.rng)

    def _where(self, setting: str | None = None) -> str:
        """Where, in words that tell it; notes it."""
        setting = setting or self.it.setting or self.pick(list(SETTINGS))
        self.it.setting = setting
        return expand(phrases.SETTINGS[setting], self.rng)

    def _wears(self, species: str, colour: str | None = None) -> str:
        """'a blue hat', noted."""
        kind = self.pick(ACCESSORIES)
        colour = colour or (self.pick(COLOURS) if self.chance(0.93) else None)
        self.it.worn[species] = (kind, colour)
        words = [self._adjective() if self.chance(0.12) else "", self._colour(colour) if colour else ""]
        return _a(" ".join([*words, expand(phrases.ACCESSORIES[kind], self.rng)]))

    # subjects

    def _described(self, species: str, article: str = "a") -> str:
        """A puppet with its looks, noted."""
        colour = self.pick(COLOURS) if self.chance(0.94) else None
        name = self._species(species)
        adjective = self._adjective() if self.chance(0.25) else ""
        if self.chance(0.08):
            adjective += ", " + self._adjective()
        if colour:
            self.it.colours[species] = colour
        how = self.rng.random()
        if colour and how < 0.86:
            words = [adjective, self._colour(colour)] if self.chance(0.7) else [self._colour(colour), adjective]
            text = " ".join([*words, name])
        elif colour and how < 0.94:
            fur = {"bird": "feathers|plumage", "robot": "paint|metal|armour|body"}.get(species, "fur|coat|fur")
            text = f"{adjective} {name} (with {self._colour(colour)} ({fur})|whose ({fur}) is {self._colour(colour)})"
        elif colour:
            text = f"{adjective} {name}, {self._colour(colour)} " + "(all over|from head to toe|as can be),"
        else:
            text = f"{adjective} {name}"
        text = f"{article} {text}" if article != "a" else _a(text)
        text = expand(text, self.rng)
        if self.chance(0.45):
            worn = self._wears(species)
            text += " " + expand(
                f"with {worn}|with {worn}|wearing {worn}|wearing {worn}|in {worn}|in {worn}|who wears {worn}|dressed in {worn}|that has {worn}|, with {worn} on,|who always wears {worn}, |, {worn} (on its head|around its neck),|with {worn} (on|on its head|around its neck)|, wearing {worn},|who has {worn}|that is wearing {worn}|sporting {worn}|and its {worn[2:]}",
                self.rng,
            )
        return text

    def _newcomer(self) -> Subject:
        species = self._fresh()
        pronoun = self.rng.choices(("it", "he", "she"), (6, 2, 2))[0]
        how = self.rng.random()
        if how < 0.72:
            text = self._described(species)
        elif how < 0.8:
            text = f"{self._name(species)} {self._described(species, 'the')}"
        elif how < 0.86:
            text = f"{self._name(species)}, {self._described(species)},"
        elif how < 0.93:
            text = (
                f"{self._described(species)} {self.pick(('named', 'called', 'by the name of'))} {self._name(species)}"
            )
        elif how < 0.96:
            text = self._described(species, self.pick(("the", "our", "my", "that", "another", "one", "some")))
        else:
            text = f"{self._described(species, 'our friend the')}"
        return Subject(text.strip(), (species,), pronoun)

    def _again(self, puppet: Seen) -> str:
        """A known puppet as an author names it again."""
        species = puppet.species
        how = self.rng.random()
        if how < 0.55:
            return (
                f"{self.pick(('the', 'the', 'the', 'the', 'our', 'that', 'this', 'said', ''))} {self._species(species)}"
            )
        if how < 0.68:
            return f"the {self._adjective()} {self._species(species)}"
        if how < 0.74:  # an alias, put in its place before anybody reads it
            title = expand(phrases.TITLES, self.rng)
            return self.pick(
                (
                    species,
                    species,
                    species,
                    f"{species} the {self._species(species)}",
                    f"old {species}",
                    f"{title} {species}",
                    f"{species} {species}",
                )
            )
        if how < 0.86 and puppet.colour:
            self.it.colours[species] = puppet.colour
            return f"{self.pick(('the', 'the', 'our', 'a'))} {self._colour(puppet.colour)} {self._species(species)}"
        if how < 0.93 and puppet.worn:
            self.it.worn[species] = puppet.worn
            kind = expand(phrases.ACCESSORIES[puppet.worn[0]], self.rng)
            return f"the {self._species(species)} {self.pick(('with', 'in', 'wearing'))} the {self._colour(puppet.worn[1])} {kind}"
        if how < 0.97:
            return expand(phrases.EPITHETS[species], self.rng)
        return f"{self.pick(('our', 'the', 'our little', 'our old'))} {expand('friend|hero', self.rng)}, the {self._species(species)},"

    def _by_looks(self, puppet: Seen) -> str | None:
        """'the red one', where only one of those on stage is."""
        others = [other for other in self._on_stage if other is not puppet]
        if puppet.colour and all(other.colour != puppet.colour for other in others) and self.chance(0.6):
            self.it.colours[puppet.species] = puppet.colour
            return (
                f"the {self._colour(puppet.colour)} {self.pick(('one', 'one', 'animal', 'fellow', 'creature', 'guy'))}"
            )
        if puppet.worn and all(not other.worn or other.worn[0] != puppet.worn[0] for other in others):
            self.it.worn[puppet.species] = (puppet.worn[0], None)
            return f"the one (with|in|wearing) the {expand(phrases.ACCESSORIES[puppet.worn[0]], self.rng)}"
        return None

    def _present(self, puppet: Seen) -> Subject:
        """A puppet on stage: by name, or by a pronoun where that can only be this one."""
        self.used.add(puppet.species)
        pronoun = self.rng.choices(("it", "he", "she"), (6, 2, 2))[0]
        place = self._on_stage.index(puppet)
        if place == 0 and self.chance(0.4):
            if len(self._on_stage) == 1 and self.chance(0.15):
                return Subject(expand(phrases.ANYBODY, self.rng), (puppet.species,), pronoun)
            if len(self._on_stage) == 1 and self.chance(0.3):
                text = expand(
                    "our friend|our little friend|our hero|the little (guy|fellow|one|thing|creature)|the animal|our actor|the newcomer|the visitor|our guest|they|the poor thing|the star of the show|our new friend|this (one|fellow)|the (sweet|dear|clever) thing|the furry friend",
                    self.rng,
                )
                return Subject(text, (puppet.species,), pronoun, text == "they")
            return Subject(pronoun, (puppet.species,), pronoun)
        if place == 1 and len(self._on_stage) == 2 and self.chance(0.2):
            text = expand(
                "the other one|the other|the other one|its friend|its companion|the second one|the other puppet|the other animal",
                self.rng,
            )
            return Subject(text, (puppet.species,), pronoun)
        if len(self._on_stage) == 2 and self.chance(0.12) and (text := self._by_looks(puppet)):
            return Subject(expand(text, self.rng), (puppet.species,), pronoun)
        return Subject(self._again(puppet).strip(), (puppet.species,), pronoun)

    def _absentee(self) -> Subject | None:
        """A known puppet that is off stage."""
        off = [puppet for puppet in self.it.known if not puppet.is_on_stage and puppet.species not in self.used]
        if not off:
            return None
        puppet = self.pick(off)
        self.used.add(puppet.species)
        pronoun = self.rng.choices(("it", "he", "she"), (6, 2, 2))[0]
        if puppet is off[0] and not self._on_stage and self.chance(0.2):
            return Subject(pronoun, (puppet.species,), pronoun)
        return Subject(self._again(puppet).strip(), (puppet.species,), pronoun)

    def _anyone(self) -> Subject:
        on = [puppet for puppet in self._on_stage if puppet.species not in self.used]
        if on and self.chance(0.75):
            return self._present(self.pick(on))
        return (self._absentee() if self.chance(0.5) else None) or self._newcomer()

    def _both(self) -> Subject | None:
        on = self._on_stage
        if len(on) == 2 and self.chance(0.7):
            text = expand(
                "they|they|they|they both|both|both of them|the two|the two of them|the two friends|the pair|the two animals|the friends|everybody|all|they all|our heroes|our two friends|the couple|our friends|they two|everyone|the two companions|our pair|the two puppets|the animals|all of them|side by side they|together they",
                self.rng,
            )
            return Subject(
                text,
                tuple(puppet.species for puppet in on),
                "they",
                text not in ("everybody", "everyone", "the pair", "the couple", "our pair"),
            )
        if len(on) == 2:
            first, second = self.rng.sample(on, 2)
            texts = [self._again(first), self._again(second)]
            joined = f"{texts[0]} and {texts[1]}" if self.chance(0.85) else f"both {texts[0]} and {texts[1]}"
            return Subject(joined.strip(), (first.species, second.species), "they", True)
        if not on:
            first, second = self._newcomer(), self._newcomer()
            return Subject(f"{first.text} and {second.text}", first.species + second.species, "they", True)
        return None

    # what they do

    def _drawn_act(self, species: Sequence[str]) -> tuple[str, str]:
        here = {puppet.species for puppet in self._on_stage}
        known = {puppet.species for puppet in self.it.known}
        side = self.rng.choices((*SIDES, NOWHERE), (3, 3, 3))[0]
        if all(name in here for name in species):
            verb = self.rng.choices(
                ("leave", "stand", "jump", "wave", "spin", "walk", "idle", "enter"), (30, 12, 11, 13, 11, 10, 10, 2)
            )[0]
        else:
            verb = self.rng.choices(
                ("enter", "stand", "idle", "jump", "wave", "spin", "walk", "leave"), (50, 14, 6, 6, 7, 6, 4, 2)
            )[0]
        if verb == "leave" and self.chance(0.22):
            side = self.pick(("same", "same", "opposite"))
        if verb == "enter" and any(name in known for name in species) and self.chance(0.08):
            side = self.pick(("same", "opposite"))
        return verb, side if verb in ("enter", "leave", "walk") else NOWHERE

    def _predicate(self, verb: str, side: str, subject: Subject, form: str) -> str:
        known_off = any(p.species in subject.species and not p.is_on_stage for p in self.it.known)
        if verb == "enter":
            back = known_off and self.chance(0.6)
            text = expand(phrases.RETURN if back else phrases.ENTER["verb"], self.rng, form)
            text = self._sided(text, phrases.ENTER, side)
        elif verb == "leave":
            text = self._sided(expand(phrases.LEAVE["verb"], self.rng, form), phrases.LEAVE, side)
        elif verb == "walk":
            text = expand(phrases.WALK["side" if side else "none"], self.rng, form)
        elif verb == "idle" and self.noise and self.chance(0.12):
            word = self.pick(self.noise)
            text = {"s": f"{word}s", "ing": f"{word}ing", "past": f"{word}ed", "done": f"{word}ed"}.get(form, word)
        else:
            text = expand(getattr(phrases, verb.upper()), self.rng, form)
        text = re.sub(r"\b(doing|done) not\b", "not", text)
        return self._fill(text, subject, side)

    def _sided(self, text: str, table: dict[str, str], side: str) -> str:
        if not side:
            return text
        phrase = expand(table["side" if side in SIDES else side], self.rng)
        if self.chance(0.08):
            phrase = f"{expand(phrases.MANNERS, self.rng)} {phrase}"
        return f"{text}, {phrase}" if self.chance(0.04) else f"{text} {phrase}"

    def _fill(self, text: str, subject: Subject, side: str) -> str:
        for place in ("{thing}", "{other}"):
            while place in text:
                text = text.replace(place, self._thing() if place == "{thing}" else self._other(subject), 1)
        opposite = {"left": "right", "right": "left"}.get(side, "")
        target = self.pick(("it", "him", "her"))
        return (
            text.replace("the the", "the").replace("{poss}self", {"its": "itself", "his": "himself", "her": "herself"}.get(subject.poss, "themselves"))
            .replace("{poss}", subject.poss).replace("{pron}", subject.pronoun).replace("{side}", side)
            .replace("{opposite}", opposite).replace("{it}", target)
        )  # fmt: skip

    def _other(self, subject: Subject) -> str:
        others = [puppet for puppet in self._on_stage if puppet.species not in subject.species]
        if others and self.chance(0.8):
            return self._species(others[0].species) if self.chance(0.8) else "other one"
        return self.pick(("audience", "camera", "spectators", "people", "moon", "world"))

    def _clause(self, subject: Subject, verb: str, side: str) -> str:
        """Subject and predicate in one of many orders; noted."""
        self._note(subject, verb, side)
        be, have = ("are", "have") if subject.is_plural else ("is", "has")
        had = "had to|had to|has to|got to|needs to|was going to|likes to|loves to|would like to|wishes to|felt like it and went on to"
        present = "plural" if subject.is_plural else "s"
        said = lambda form: self._predicate(verb, side, subject, form)  # noqa: E731
        s = subject.text
        objective = {"it": "it", "he": "him", "she": "her", "they": "them"}.get(s, s)
        how = self.rng.random()
        if how < 0.52:
            return f"{s} {said(present)}"
        if how < 0.62:
            return f"{s} {be} {said('ing')}" if verb != "idle" else f"{s} {said(present)}"
        if how < 0.68:
            return f"{s} {said('past')}"
        if how < 0.71:
            return expand(
                f"{s} *start to {said('base')}|{s} *begin to {said('base')}|{s} *begin {said('ing')}|{s} *start {said('ing')}",
                self.rng,
                present,
            )
        if how < 0.76:
            return expand(
                f"we (see|watch) {objective} {said('ing')}|{s} can be seen {said('ing')}|we (see|watch) {objective} {said('base')}|(watch|see|look at) {objective} {said('base')}|here we see {objective} {said('ing')}",
                self.rng,
            )
        if how < 0.80:
            return expand(
                f"{s} *decide to {said('base')}|{s} {be} (about|going|ready) to {said('base')}|{s} (will|must|can|shall|may) {said('base')}|{s} *want to {said('base')}|{s} *go on to {said('base')}|{s} *do {said('base')}|{s} cannot help but {said('base')}|now it is time for {objective} to {said('base')}|{s} *try to {said('base')}|{s} ({had}) {said('base')}|{s} ({had}) {said('base')}",
                self.rng,
                present,
            )
        if how < 0.83:
            return expand(
                f"it is {s} (who|that) {said(present)}|(look|see) how {s} {said(present)}|{s} (simply|just|then|now|slowly|finally|suddenly|also|even|still|already) {said(present)}",
                self.rng,
            )
        if how < 0.85 and verb in ("enter", "leave"):
            return f"{s} {have} {said('done')}"
        inverted = self._inverted(subject, verb, side, said, be)
        return inverted or f"{s} {said(present)}"

    def _inverted(self, subject: Subject, verb: str, side: str, said, be: str) -> str | None:
        s, plural = subject.text, subject.is_plural
        present = "plural" if plural else "s"
        if s in ("it", "he", "she", "they") and verb != "wave":
            swapped = {
                "jump": f"up and down {s} {'go' if plural else 'goes'}",
                "spin": f"round and round {s} {'go' if plural else 'goes'}",
                "leave": f"(off|away|out) {s} {'go' if plural else 'goes'}",
            }.get(verb)
            return expand(swapped, self.rng) if swapped and not side else None
        go = expand(
            "*come|*walk|*hop|*step|*stroll|*appear|*enter|*march|*run|*trot|*emerge|*arrive", self.rng, present
        )
        leave = expand("*go|*walk|*hop|*run|*march|*stroll|*trot", self.rng, present)
        from_side = (
            self._fill(expand(phrases.ENTER["side" if side in SIDES else side], self.rng), subject, side)
            if side and verb == "enter"
            else ""
        )
        to_side = (
            self._fill(expand(phrases.LEAVE["side" if side in SIDES else side], self.rng), subject, side)
            if side and verb == "leave"
            else ""
        )
        choices = {
            "enter": f"here *come {s} {from_side}|in *come {s} {from_side}|in {go} {s} {from_side}|enter {s} {from_side}|the stage is entered by {s} {from_side}|there {go} {s} {from_side}|a new (guest|arrival|face) {from_side}, {s}|then {go} {s} {from_side}"
            + (f"|{from_side} {go} {s}|{from_side}, {s} {go} in|{from_side}: {s}|{from_side} {go} {s}|who *come {from_side}, it is {s}" if from_side else ""),
            "leave": f"off *go {s} {to_side}|away {leave} {s} {to_side}|out {leave} {s} {to_side}|exit {s} {to_side}|the stage is left by {s} {to_side}|that was {s}, who {leave} off {to_side}|time for {s} to leave {to_side}"
            + (f"|{to_side}, {s} {leave} away|{to_side} *disappear {s}" if to_side else ""),
            "wave": f"we are greeted by {s}|a (hand|paw) is raised by {s}|a (friendly|little|big|) (wave|greeting|hello) from {s}|hello, *say {s}|hi, *call {s}|hello there, *say {s}|goodbye, *say {s}|hello everybody, {s} *say|everybody is greeted by {s}|{s}: hello|a wave of {subject.poss} hand, {s} says hello",
            "jump": f"up and down *go {s}|up and down *jump {s}|{s}: jump, jump, jump|up *jump {s}|look at {s}, jumping (up and down|high|for joy)|hop, hop, hop *go {s}",
            "spin": f"round and round *go {s}|around *go {s}, [around and around]|in circles *go {s}|look at {s}, turning round and round|round *spin {s}|{s}: turning, turning, turning",
            "stand": f"there *stand {s}|there *wait {s}|still *stand {s}|{s}, (standing|waiting) [(there|still|quietly)]|{s} (standing|waiting) there|no step more *do {s} take|and there {s} *stay",
            "idle": f"there {be} {s}|here {be} {s}|{s}|that is {s}|look, {s}|{s} there",
            "walk": f"over to the {side} *go {s}" if side else f"around *walk {s}",
        }  # fmt: skip
        return " ".join(expand(choices[verb], self.rng, present).replace(" ,", ",").split())

    def _note(self, subject: Subject, verb: str, side: str) -> None:
        for species in subject.species:
            self.it.acts.setdefault(species, []).append((verb, side))

    # kinds of sentences

    def _one_acts(self) -> str:
        subject = self._anyone()
        verb, side = self._drawn_act(subject.species)
        text = self._clause(subject, verb, side)
        if verb == "leave" and self.chance(0.3):
            here = {puppet.species for puppet in self._on_stage}
            if here <= set(subject.species) and self.chance(0.35):
                return f"{text}{self.pick((', and ', ', ', ' and now '))}{self._nobody()}"
            return text + expand(
                "[,] and (is gone|disappears|vanishes|does not come back|is no longer seen|is seen no more|is out of sight|out of the picture|never looks back|is off)|, out of (sight|the picture)|, gone|, never to be seen again|, and that is that|, bye-bye|, until nothing of it can be seen|, back home",
                self.rng,
            )
        if verb == "enter" and not self._on_stage and self.chance(0.08):
            return f"{expand('nobody is here|all is quiet|the stage is empty|no one is there|it is quiet|nothing moves', self.rng)}{self.pick((', until ', ' until ', ', then ', ', but then ', ', when suddenly ', ', and then '))}{text}"
        return self._placed(text, 0.3, verb)

    def _placed(self, text: str, share: float, verb: str = "") -> str:
        """With where it is, sometimes, before or after."""
        if not self.it.known and self.it.known_setting is None:
            share = 0.75
        if not self.chance(share):
            return text
        where = self._where()
        if verb in ("stand", "idle") and self.chance(0.3):
            return f"{where} {text}"
        return self.pick(
            (
                f"{text} {where}",
                f"{text} {where}",
                f"{where}, {text}",
                f"{where} {text}",
                f"{text}, {where}",
                f"{self._place_name()}: {text}",
            )
        )

    def _place_name(self) -> str:
        setting = self.it.setting or self.pick(list(SETTINGS))
        self.it.setting = setting
        return self.pick(("the ", "a ", "")) + expand(phrases.PLACES[setting], self.rng)

    def _one_acts_twice(self) -> str:
        subject = self._anyone()
        species = subject.species
        first = self._drawn_act(species)
        here = any(p.species in species and p.is_on_stage for p in self.it.known)
        second = self._second_act(first[0], here)
        pronoun = subject.pronoun
        self._note(subject, *first)
        self._note(subject, *second)
        said = lambda act, form: self._predicate(*act, subject, form)  # noqa: E731
        s = subject.text
        present = "plural" if subject.is_plural else "s"
        how = self.rng.random()
        if how < 0.55:
            joiner = self.pick(
                (
                    " and ",
                    " and ",
                    " and then ",
                    ", then ",
                    ", and ",
                    ", and then ",
                    " and ",
                    " then ",
                    " before it finally ",
                    " and at last ",
                    " until it ",
                )
            )
            text = f"{s} {said(first, present)}{joiner}{said(second, present)}"
        elif how < 0.63:
            text = f"{s} {said(first, present)} before {said(second, 'ing')}"
        elif how < 0.71:
            text = f"after {said(first, 'ing')}, {s} {said(second, present)}"
        elif how < 0.79:
            text = f"{s} {said(first, present)}, {said(second, 'ing')}"
        elif how < 0.86:
            text = f"{said(first, 'ing')}, {s} {said(second, present)}"
        elif how < 0.93:
            text = f"{s}, who {said(first, present)}, {self.pick(('', 'now ', 'then '))}{said(second, present)}"
        else:
            text = f"{s} {said(first, present)}, {self.pick(('and', 'then', 'and then', 'but'))} {pronoun} {said(second, 's' if pronoun != 'they' else 'plural')}"
        return self._placed(text, 0.2)

    def _second_act(self, first: str, here: bool) -> tuple[str, str]:
        if first == "enter":
            verb = self.rng.choices(("stand", "wave", "jump", "spin", "idle", "leave"), (8, 5, 2, 2, 5, 1))[0]
        elif first == "leave":
            return "leave", NOWHERE
        else:
            verb = self.rng.choices(("leave", "stand", "wave", "jump", "spin", "idle"), (6, 4, 4, 4, 4, 4))[0]
            verb = "leave" if verb == first else verb
        side = self.rng.choices((*SIDES, NOWHERE, "same"), (3, 3, 4, 2))[0] if verb == "leave" else NOWHERE
        return verb, side

    def _two_act(self) -> str:
        """Two puppets, each doing something of its own."""
        subjects = [self._anyone(), self._anyone()]
        acts = [self._drawn_act(subject.species) for subject in subjects]
        if self.chance(0.5):  # most of the time one acts and the other stands by
            quiet = self.rng.randrange(2)
            acts[quiet] = (self.pick(("stand", "stand", "idle")), NOWHERE)
        clauses = [self._clause(subject, *act) for subject, act in zip(subjects, acts, strict=True)]
        joiner = self.pick(
            (
                " and ",
                ", and ",
                " while ",
                " while ",
                ", while ",
                " as ",
                ", but ",
                " and then ",
                ", ",
                " whereas ",
                ". ",
                "; ",
            )
        )
        text = clauses[0] + joiner.replace(". ", ", ") + clauses[1]
        if self.chance(0.1):
            text = f"{self.pick(('while', 'as'))} {clauses[0]}, {clauses[1]}"
        return self._placed(text, 0.2)

    def _both_act(self) -> str:
        subject = self._both()
        if subject is None:
            return self._one_acts()
        self.used |= set(subject.species)
        verb, side = self._drawn_act(subject.species)
        text = self._clause(subject, verb, side)
        if self.chance(0.3):
            text += " " + self.pick(
                (
                    "together",
                    "side by side",
                    "next to each other",
                    "at the same time",
                    "side by side",
                    "as well",
                    "hand in hand",
                    "in step",
                )
            )
        return self._placed(text, 0.2, verb)

    def _nobody(self) -> str:
        self.it.is_empty = True
        text = expand(phrases.EMPTY, self.rng)
        if "{place}" in text and (
            "a {place}" in text or "an empty" in text or "the {place}" in text or self.chance(0.5)
        ):
            setting = self.pick(list(SETTINGS))
            self.it.setting = setting
            text = text.replace("{place}", expand(phrases.PLACES[setting], self.rng))
        text = text.replace("{place}", "place")
        if "{where}" in text:
            text = text.replace("{where}", self._where() if self.chance(0.7) else "here")
        while "{nature}" in text:
            nature = self.pick(self.noise) if self.noise and self.chance(0.1) else expand(phrases.NATURE, self.rng)
            text = text.replace("{nature}", nature, 1)
            if nature in phrases.NATURE_OF and self.it.known_setting is None and self.it.setting is None:
                self.it.setting = phrases.NATURE_OF[nature]
        if self.it.setting is None and self.chance(0.15):
            place = self._place_name()
            text = self.pick(
                (
                    f"{place}: {text}",
                    f"{place}, {expand(phrases.TIMES, self.rng)}, {text}",
                    f"{self._where()}, {text}",
                    f"{place}, and {text}",
                )
            )
        if self.it.setting is None and self._on_stage == [] and self.chance(0.1):
            text = f"{text}, {self._sign()}"
        return text

    def _sign(self) -> str:
        setting = self.it.setting or self.pick(list(SETTINGS))
        self.it.setting = setting
        return expand(phrases.SIGNS[setting], self.rng)

    def _only_place(self) -> str:
        place = self._place_name()
        where = expand(phrases.SETTINGS[self.it.setting], self.rng)
        times = expand(phrases.TIMES, self.rng)
        return expand(
            f"{place}|{place}, {times}|{place} (in the morning|at night|at noon|in the evening|by day|under a blue sky|in the rain|at sunset)|our story (starts|begins|takes place|happens) {where}|we are {where}|it is (morning|night|noon|evening|a new day|late) {where}|{times} {where}|{self._sign()}|{where}|{where}, {times}|"
            f"the scene is {place}|this is {place}|welcome to {place}|(now|next|then) we (go|come|move|travel) to {place}|the (story|film) (goes on|continues|starts|begins) {where}|(morning|night|evening) (falls|comes) over {place}|the sun (rises|sets|shines) over {place}|{place} lies before us|back {where}|we (find ourselves|are back|are now) {where}|once upon a time, {where}|here is {place}",
            self.rng,
        )

    def _there_is(self) -> str:
        subject = self._newcomer() if self.chance(0.75) else self._anyone()
        s = subject.text
        if s in ("it", "he", "she", "they"):
            return self._one_acts()
        opener = expand(phrases.OPENERS, self.rng)
        if re.search(r"\b(with|in|on)$", opener):
            text = f"{opener.removesuffix(' in').removesuffix(' on').removesuffix(' with')} with {s}"
        else:
            text = f"{opener} {s}"
        if self.chance(0.35):
            verb = self.pick(("stand", "jump", "wave", "spin", "idle", "stand", "stand"))
            self._note(subject, verb, NOWHERE)
            text += self.pick((", ", " ", ", who is ", " who is ", " that is ")) + self._predicate(
                verb, NOWHERE, subject, "ing"
            )
        else:
            self._note(subject, "idle", NOWHERE)
        if self.chance(0.12):
            where = self._where()
            return (
                f"our story (starts|begins) {where}, where {s} {self.pick(('is', 'lives', 'can be found'))}".replace(
                    "(starts|begins)", "starts"
                )
                if self.chance(0.5)
                else f"{where} there is {s}"
            )
        return self._placed(text, 0.5)

    def _two_there(self) -> str:
        """Two of whom one is introduced while the other, or both, do something; colours may be of either."""
        first, second = (self._newcomer(), self._newcomer()) if self.chance(0.7) else (self._anyone(), self._newcomer())
        verb, side = self._drawn_act(first.species + second.species)
        pair = Subject(f"{first.text} and {second.text}", first.species + second.species, "they", True)
        if self.chance(0.25):
            self._note(pair, "idle", NOWHERE)
            return self._placed(
                expand(
                    f"there are {pair.text}|here are {pair.text}|{pair.text}|we see {pair.text}|{first.text} with {second.text}|{first.text} next to {second.text}|{first.text} together with {second.text}|meet {pair.text}",
                    self.rng,
                ),
                0.5,
            )
        return self._placed(self._clause(pair, verb, side), 0.4, verb)

    def _looks(self) -> str:
        puppets = self._on_stage or list(self.it.known)
        subject = self._present(puppets[0]) if self._on_stage else (self._absentee() or self._newcomer())
        species = subject.species[0]
        if subject.is_plural:
            return self._nothing()
        self.it.worn.pop(species, None)
        self._note(subject, "idle", NOWHERE)
        s, poss = subject.text, subject.poss
        if self.chance(0.5):
            worn = self._wears(species)
            head = "head" if self.it.worn[species][0] == "hat" else "neck"
            on = "on" if head == "head" else "around"
            kind, worn_colour = self.it.worn[species]
            if worn_colour and self.chance(0.3):
                name = expand(phrases.ACCESSORIES[kind], self.rng)
                said = self._colour(worn_colour)
                return expand(
                    f"{s} has {_a(name)} and the {name} is {said}|{s} wears {_a(name)}, {_a(said)} one|the {name} is {said}|"
                    f"{poss} {name} is {said}|{s} has {_a(name)}, it is {said}|the {name} of {_objective(s)} is {said}|"
                    f"the {name} that {s} wears is {said}",
                    self.rng,
                )
            return expand(
                f"{s} (wears|has|is wearing|always wears) {worn}|{on} {poss} {head} (is|sits|hangs|{s} has) {worn}|{worn} is {on} {poss} {head}|{s} has {worn} {on} {poss} {head}|{s} likes {poss} {worn[2:]}|{poss} {worn[2:]} (is new|looks nice|suits {subject.pronoun})|{s} is proud of {poss} {worn[2:]}",
                self.rng,
            )
        colour = self.pick(COLOURS)
        self.it.colours[species] = colour
        return expand(
            f"{s} is {self._colour(colour)} [all over]|{poss} (fur|coat|body|colour|face) is {self._colour(colour)}|{s} has {self._colour(colour)} (fur|feathers|ears|paint)|{s} is as {self._colour(colour)} as (can be|a {self._thing()})|{s} is of {self._colour(colour)} colour",
            self.rng,
        )

    def _nothing(self) -> str:
        text = expand(phrases.NOISE, self.rng)
        while "{thing}" in text:
            text = text.replace("{thing}", self._thing(), 1)
        if self.noise and self.chance(0.15):
            words = " ".join(self.pick(self.noise) for _ in range(self.rng.randrange(1, 7)))
            text = self.pick((f"{text}, {words}", words, f"the {words}", f"{words} {text}"))
        return text

    def _gone(self) -> str:
        subject = (
            self._present(self.pick(self._on_stage)) if self._on_stage and self.chance(0.7) else self._absentee()
        ) or None
        if subject is None or subject.is_plural:
            return self._nobody() if self.chance(0.3) else self._only_place()
        self._note(subject, "absent", NOWHERE)
        return (
            expand(phrases.ABSENT, self.rng).replace("{S}", subject.text).replace("{is}", "is").replace("{has}", "has")
        )

    def _stays_alone(self) -> str:
        """One of two stays; the other goes."""
        if len(self._on_stage) != 2:
            return self._one_acts()
        stays, goes = self.rng.sample(self._on_stage, 2)
        stayer = Subject(self._again(stays).strip(), (stays.species,))
        if self.chance(0.5):
            self._note(stayer, "stand", NOWHERE)
            self.it.acts[goes.species] = [("absent", NOWHERE)]
            return expand(phrases.ONLY, self.rng).replace("{S}", stayer.text).replace("{is}", "is")
        goer = self._present(goes)
        side = self.rng.choices((*SIDES, NOWHERE, "same"), (3, 3, 3, 1))[0]
        clause = self._clause(goer, "leave", side)
        self._note(stayer, "stand", NOWHERE)
        objective = "it" if self.chance(0.2) and stays is self._on_stage[0] else stayer.text
        return f"{clause}{expand(f', leaving {objective} (alone|behind|all alone|on its own|by itself)| and leaves {objective} (alone|behind)|, and {stayer.text} (stays|remains|is left|is alone|stays behind|remains behind|stays where it is)| without {objective}|, but {stayer.text} (stays|remains|does not|stays here)|, but not {objective}', self.rng)}"

    def _not_doing(self) -> str:
        subject = self._present(self.pick(self._on_stage)) if self._on_stage else self._newcomer()
        verb = self.pick(("leave", "jump", "wave", "spin", "walk", "jump", "spin"))
        said = lambda form: self._predicate(verb, NOWHERE, subject, form)  # noqa: E731
        if len(self._on_stage) == 2 and self.chance(0.3):
            both = Subject("they", tuple(puppet.species for puppet in self._on_stage), "they", True)
            act = self.pick(("leave", "jump", "wave", "spin", "walk", "idle", "stand"))
            self._note(both, "stand", NOWHERE)
            form = "s" if act != "stand" else "base"
            said_so = (
                self._predicate(act, NOWHERE, both, form)
                if act != "stand"
                else self.pick(("moves", "moves", "says a word", "does anything", "leaves", "stirs"))
            )
            return f"{expand(phrases.NEITHER, self.rng)} {said_so}"
        do, be = ("do", "are") if subject.is_plural else ("does", "is")
        present = "plural" if subject.is_plural else "s"
        s = subject.text
        self._note(subject, "stand", NOWHERE)
        if self.chance(0.25):
            del self.it.acts[subject.species[0]]
            act = self.pick(("jump", "wave", "spin", "stand"))
            self._note(subject, act, NOWHERE)
            acts = self._predicate(act, NOWHERE, subject, present)
            return self.pick(
                (
                    f"instead of {said('ing')}, {s} {acts}",
                    f"{s} can not {said('base')} and {acts}",
                    f"{s} {do} not {said('base')} but {acts}",
                    f"{s} can not stand still and {acts}"
                    if act != "stand"
                    else f"{s} {acts} and {do} not {said('base')}",
                )
            )
        return expand(
            f"{s} {do} not {said('base')}|{s} {do} not {said('base')} [any more]|{s} *stop {said('ing')}|{s} no longer {said(present)}|{s} {be} not {said('ing')} any more|{s} never {said(present)}|{s} *have stopped {said('ing')}|{s} *be done with {said('ing')}|{s} *be tired of {said('ing')}|{s} *refuse to {said('base')}|{s} {do} not want to {said('base')}",
            self.rng,
            present,
        )

    def _meets(self) -> str:
        """Somebody joins somebody who is there; only the newcomer does something."""
        if not self._on_stage:
            return self._two_there()
        here = self._on_stage[0]
        self.used.add(here.species)
        comer = (self._absentee() if self.chance(0.3) else None) or self._newcomer()
        side = self.rng.choices((*SIDES, NOWHERE), (3, 3, 3))[0]
        self._note(comer, "enter", side)
        from_side = expand(phrases.ENTER["side"], self.rng).replace("{side}", side) if side else ""
        target = (
            self._again(here).strip() if self.chance(0.5) else self.pick(("it", "him", "her", "them", "our friend"))
        )
        return expand(
            f"{comer.text} (joins|visits|meets|comes to|walks up to|walks over to|comes to see|keeps company with|comes to join|approaches) {target} {from_side}|{from_side}, {comer.text} joins {target}|{target} is (joined|visited|met) by {comer.text} {from_side}|{target} gets company, {comer.text} (comes|arrives|comes in) {from_side}|{target} is not alone [any more|for long], {comer.text} (comes|arrives|appears|shows up) {from_side}|{comer.text} comes (up to|over to|along to meet|to) {target} {from_side}|{target} has a visitor, {comer.text} {from_side}|{comer.text} is coming too {from_side}|{comer.text} comes and stands (beside|next to|with) {target} {from_side}|{comer.text} comes too {from_side}|company for {target}: {comer.text} {from_side}|{target} gets a visit from {comer.text} {from_side}|{comer.text} is here, too, coming {from_side}".replace(
                "[any more|for long]", "[(any more|for long)]"
            ).replace("coming ]", "]"),
            self.rng,
        ).strip()

    def _follows(self) -> str:
        """Who is on stage goes after who has gone; who is not comes after who is there."""
        off = [puppet for puppet in self.it.known if not puppet.is_on_stage]
        if not self._on_stage or not off:
            return self._meets()
        comes = self.chance(0.4)
        subject = self._absentee() if comes else self._present(self.pick(self._on_stage))
        if subject is None or subject.is_plural:
            return self._nothing()
        others = self._on_stage if comes else off
        other = self.pick(("it", "him", "her", self._again(self.pick(others)).strip()))
        side = self.rng.choices((*SIDES, NOWHERE), (2, 2, 6))[0]
        self._note(subject, "enter" if comes else "leave", side)
        s = subject.text
        tail = f" {'from' if comes else 'to'} the {side}" if side else ""
        go = "in|onto the stage" if comes else "out|off|away"
        text = f"{s} follows [{other}]|{s} follows {other} ({go})|{s} (goes|runs|walks|hurries|hops) after {other}|{other} is followed by {s}|{s} does the same|{s} goes, too|{s} also goes"
        if comes:
            text = f"{s} follows [{other}]|{s} follows {other} ({go})|{s} (comes|runs|walks|hurries|hops) after {other}|{s} comes, too|{s} also comes|{s} follows {other} in"
        return expand(text, self.rng) + tail

    def _elliptical(self) -> str:
        """Two do the same, and the second is told in few words: "the fox leaves to the left, the bear to the right"."""
        subjects = [self._anyone(), self._anyone()]
        if any(subject.is_plural for subject in subjects):
            return self._one_acts()
        verb = self.pick(("leave", "leave", "leave", "enter", "enter", "walk", "jump", "wave", "spin", "stand"))
        sides = [self.pick(SIDES), self.pick(SIDES)] if verb in ("leave", "enter", "walk") else [NOWHERE] * 2
        for subject, side in zip(subjects, sides, strict=True):
            self._note(subject, verb, side)
        first = f"{subjects[0].text} {self._predicate(verb, sides[0], subjects[0], 's')}"
        s = subjects[1].text
        if verb in ("leave", "enter", "walk") and (sides[0] != sides[1] or self.chance(0.5)):
            preposition = "from" if verb == "enter" else "to"
            return f"{first}{self.pick((', ', ' and ', ', and ', ', while '))}{s} {self.pick(('', '', 'goes ', 'leaves ' if verb == 'leave' else '', 'comes ' if verb == 'enter' else ''))}{preposition} the {sides[1]}"
        self.it.acts[subjects[1].species[0]] = [(verb, sides[0])]
        return f"{first}{expand(f', and so does {s}|, {s} too|, [and] {s} as well|, {s} does the same|, and {s} does it, too|, like {s}|, just as {s} does|, followed by {s}', self.rng)}"

    def _only_one_acts(self) -> str:
        """Of two, one does something, the other nothing: nobody leaves."""
        if len(self._on_stage) != 2:
            return self._one_acts()
        actor, other = self.rng.sample(self._on_stage, 2)
        verb = self.pick(("jump", "wave", "spin", "jump", "walk", "idle"))
        subject = Subject(self._again(actor).strip(), (actor.species,))
        self._note(subject, verb, NOWHERE)
        if self.chance(0.5):
            self.it.acts[other.species] = [("stand", NOWHERE)]
            return f"only {subject.text} {self._predicate(verb, NOWHERE, subject, 's')}, {self._again(other)} {self.pick(('does not', 'just watches', 'stays still', 'looks on', 'waits'))}"
        return f"only {subject.text} {self.pick(('', 'goes on and ', 'still ', 'now '))}{self._predicate(verb, NOWHERE, subject, 's')}"

    def _looks_on(self) -> str:
        """One does something, another only watches, told without a word between them: "the fox waves, the bear looks on"."""
        first, second = self._anyone(), self._anyone()
        if first.is_plural or second.is_plural:
            return self._one_acts()
        verb = self.pick(("jump", "wave", "spin", "walk", "jump", "wave", "spin"))
        side = self.pick((*SIDES, NOWHERE)) if verb == "walk" else NOWHERE
        self._note(first, verb, side)
        self._note(second, "stand", NOWHERE)
        acts = f"{first.text} {self._predicate(verb, side, first, 's')}"
        s = second.text
        quiet = expand(
            f"{s} (watches|looks on|waits|stands by|just watches|just stands there|only watches|does not move|stays still|"
            f"keeps still|stays where it is|watches it|looks at it|does nothing|rests|stays quiet|listens|stands still|"
            f"stands there|looks on in wonder|remains still|holds still|watches quietly)",
            self.rng,
        )
        joiner = self.pick((", ", ", ", ", ", "; ", " while ", ", while ", " as ", ", and ", " and ", ", but ", ": "))
        if self.chance(0.3):
            return f"{quiet}{joiner}{acts}" if joiner != ": " else f"{quiet}, {acts}"
        return acts + joiner + quiet

    def _just_stands(self) -> str:
        """Of two, one is told to do nothing much. The other is not gone."""
        if len(self._on_stage) != 2:
            return self._one_acts()
        puppet = self.pick(self._on_stage)
        subject = Subject(self._again(puppet).strip(), (puppet.species,))
        self._note(subject, "stand", NOWHERE)
        how = "(just|just|simply|merely|still|quietly|calmly|only)"
        does = "(stands there|stands still|watches|looks on|waits|stays where it is|rests|stands around|stays put)"
        return expand(
            f"{subject.text} {how} {does}|{subject.text} {does}, (nothing more|quietly|that is all)", self.rng
        )

    def _look_by_look(self) -> str:
        """As a child tells it: "there is a bunny and the bunny is blue and it has a hat and the hat is yellow"."""
        species = self._fresh()
        name, colour = self._species(species), self.pick(COLOURS)
        self.it.colours[species] = colour
        self.it.acts[species] = [("idle", NOWHERE)]
        again = self.pick((f"the {name}", "it", "it", f"the {name}", "he", "she"))
        joiner = self.pick((" and ", " and ", ", ", ", and ", ". "))
        parts = [
            f"{self.pick(('there is', 'I see', 'here is', 'we see', 'this is'))} {_a(name)}",
            f"{again} is {self._colour(colour)}",
        ]
        if self.chance(0.7):
            kind, worn = self.pick(ACCESSORIES), self.pick(COLOURS)
            self.it.worn[species] = (kind, worn)
            thing = expand(phrases.ACCESSORIES[kind], self.rng)
            said = self._colour(worn)
            if self.chance(0.75):
                parts += [
                    f"{again} {self.pick(('has', 'wears', 'has got'))} {_a(thing)}",
                    self.pick((f"the {thing} is {said}", f"its {thing} is {said}", f"it is {said}")),
                ]
            else:
                parts.append(f"{again} {self.pick(('has', 'wears', 'has got'))} {_a(f'{said} {thing}')}")
        if self.chance(0.5):
            parts.append(f"{again} is {self._where()}")
        return joiner.replace(". ", ", ").join(parts)

    def _bare_pair(self) -> str:
        """Two without articles: "fox and bear stood side by side"."""
        if len(self._on_stage) != 2:
            return self._two_there()
        first, second = self.rng.sample(self._on_stage, 2)
        pair = f"{self._species(first.species)} and {self._species(second.species)}"
        subject = Subject(pair, (first.species, second.species), "they", True)
        verb = self.pick(("stand", "stand", "idle", "jump", "wave", "spin", "leave"))
        self._note(subject, verb, NOWHERE)
        text = f"{pair} {self._predicate(verb, NOWHERE, subject, self.pick(('past', 'past', 'plural')))}"
        if verb in ("stand", "idle") and self.chance(0.4):
            text += f" and {expand('listened to the {thing}|looked at the {thing}|waited|watched the {thing}|said nothing', self.rng)}".replace(
                "{thing}", self._thing()
            )
        return text

    def _stranger(self) -> str:
        """Somebody whom theatre cannot draw: whatever it does, nobody of the cast does it."""
        name = self.pick(self.noise) if self.noise and self.chance(0.25) else expand(phrases.STRANGERS, self.rng)
        colour = (
            f"{self._colour(self.pick(COLOURS))} "
            if self.chance(0.3)
            else f"{self._adjective()} "
            if self.chance(0.3)
            else ""
        )
        worn = (
            f" {self.pick(('with', 'in', 'wearing'))} a {expand(phrases.ACCESSORIES[self.pick(ACCESSORIES)], self.rng)}"
            if self.chance(0.15)
            else ""
        )
        text = f"{self.pick(('a', 'a', 'the', 'another', 'two', 'our', 'some'))} {colour}{name}{worn}"
        verb, side = self._drawn_act(())
        if verb == "idle" and self._on_stage and self.chance(0.5):
            return f"{text} {self.pick(('chases', 'greets', 'sees', 'follows', 'likes', 'passes', 'scares', 'visits'))} {self._again(self._on_stage[0])}"
        return self._placed(self._clause(Subject(text, ()), verb, side), 0.3, verb)

    # the sentence's outside

    def _finish(self, text: str) -> str:
        if self.chance(0.22):
            text = f"{expand(phrases.TIMES, self.rng)}{self.pick((', ', ' ', ', '))}{text}"
        if self.chance(0.14) and not self.it.is_empty:
            text = f"{text} {expand(phrases.MANNERS, self.rng)}"
        if self.chance(0.06):
            text = f"{text}, {self._nothing()}"
        elif self.chance(0.03):
            text = f"{self._nothing()}, {text}"
        if self.noise and self.chance(0.06):
            words = text.split()
            words.insert(self.rng.randrange(len(words) + 1), self.pick(self.noise))
            text = " ".join(words)
        text = " ".join(text.replace(" ,", ",").replace(",,", ",").strip(" ,").split())
        return self._misspell(text) if self.chance(self.misspelled) else text

    def _misspell(self, text: str) -> str:
        words = text.split()
        place = self.rng.randrange(len(words))
        word = words[place]
        if len(word) < 4:
            return text
        at = self.rng.randrange(1, len(word) - 1)
        words[place] = self.pick(
            (
                word[:at] + word[at + 1 :],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at] + word[at:],
            )
        )
        return " ".join(words)


def _objective(subject: str) -> str:
    return {"it": "it", "he": "him", "she": "her", "they": "them"}.get(subject, subject)


def _a(text: str) -> str:
    text = " ".join(text.split()).strip(" ,")
    return f"{'an' if text[:1] in 'aeiou' else 'a'} {text}"


def grammar_words() -> set[str]:
    """Every word that the tables may write."""
    found: set[str] = set()
    for name, table in vars(phrases).items():
        if name.isupper() or name.startswith("_"):
            patterns = table.values() if isinstance(table, dict) else [table]
            for pattern in patterns:
                if isinstance(pattern, str) and not name.startswith("__"):
                    found |= all_words(pattern)
    words = {
        part
        for word in found
        for part in re.findall(r"[a-z']+", re.sub(r"\{\w+\}", "", word.lower().replace("-", " ")))
    }
    writer = Writer("words", misspelled=0)
    words |= {
        part for _ in range(20000) for part in re.findall(r"[a-z']+", writer.example().text.lower().replace("-", " "))
    }
    return {word.strip("'") for word in words if len(word.strip("'")) > 1} | {"a", "i"}
