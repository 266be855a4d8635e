"""Of whom a sentence tells, and in which words: puppets with their looks, names and pronouns, in the context of a story.

A context: the puppets that the story knows, most recently mentioned first, and who of them is on stage.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from memflow_cli.models.theatre.language.reader import Seen
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SETTINGS, SPECIES
from training.language import phrases
from training.language.patterns import expand

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


class Subjects:
    """Draws subjects at random. `noise`: words without meaning here, met as adjectives, things, verbs and names.

    `misspelled`: the share of sentences with a wrong letter.
    """

    it: Example
    used: set[str]

    def __init__(self, seed: int | str, noise: Sequence[str] = (), misspelled: float = 0.05) -> None:
        self.rng = random.Random(seed)
        self.noise = noise
        self.misspelled = misspelled

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def pick(self, choices):
        return choices[int(self.rng.random() * len(choices))]

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

    def _with_things(self, text: str) -> str:
        """With a thing in each place for one."""
        while "{thing}" in text:
            text = text.replace("{thing}", self._thing(), 1)
        return text

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
        return with_article(" ".join([*words, expand(phrases.ACCESSORIES[kind], self.rng)]))

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
        text = f"{article} {text}" if article != "a" else with_article(text)
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


def objective(subject: str) -> str:
    return {"it": "it", "he": "him", "she": "her", "they": "them"}.get(subject, subject)


def with_article(text: str) -> str:
    text = " ".join(text.split()).strip(" ,")
    return f"{'an' if text[:1] in 'aeiou' else 'a'} {text}"
