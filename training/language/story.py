"""Sentences of plain English with what they mean: who does what, looks, where, and whether anybody is there.

A sentence is written into a context: the puppets that the story knows, most recently mentioned first, and who of them is on stage.
"""

import re
from collections.abc import Callable

from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SETTINGS
from training.language import phrases
from training.language.asides import Asides
from training.language.patterns import all_words, expand
from training.language.subjects import NOWHERE, Example, Subject, objective, with_article

__all__ = ["Example", "Writer", "grammar_words"]


class Writer(Asides):
    """Writes examples at random."""

    def example(self) -> Example:
        kinds = (
            (self._one_acts, 40), (self._one_acts_twice, 12), (self._two_act, 14), (self._both_act, 7), (self._nobody, 9),
            (self._only_place, 5), (self._there_is, 6), (self._looks, 4), (self._nothing, 6), (self._gone, 3),
            (self._stays_alone, 3), (self._not_doing, 3), (self._two_there, 5), (self._meets, 4), (self._stranger, 4), (self._follows, 3), (self._elliptical, 4), (self._only_one_acts, 2),
            (self._three_in_a_row, 5), (self._looks_on, 5), (self._just_stands, 3), (self._look_by_look, 3), (self._bare_pair, 2),
            (self._to_another, 14), (self._leaves_another, 5), (self._despite, 6), (self._all_but_one, 3), (self._nobody_else, 4), (self._nothing_happens, 3),
            (self._they_return, 4), (self._comes_and_then, 5), (self._itself_again, 2), (self._crosses, 2), (self._like_another, 4), (self._anothers_things, 3),
            (self._looks_in_one, 4), (self._alike, 3), (self._is_called, 6), (self._two_by_name, 3), (self._by_their_looks, 2),
            (self._narrator, 5), (self._and_says_so, 5), (self._elsewhere, 5), (self._relative, 4), (self._from_where_it_went, 2),
            (self._gives_up, 4), (self._because_of_another, 3), (self._says_it_twice, 3), (self._notes, 6), (self._looks_after, 4),
            (self._never_takes_off, 4), (self._request, 4), (self._the_same_again, 4),
        )  # fmt: skip
        return self._written(self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0])

    def example_of(self, kind: str) -> Example:
        """One of this kind, "to_another" or the like, or of another where the story at hand has nobody for it."""
        return self._written(getattr(self, f"_{kind}"))

    def _written(self, write: Callable[[], str]) -> Example:
        known = self._context()
        self.it = Example(known, self.pick(list(SETTINGS)) if known or self.chance(0.3) else None)
        self.used: set[str] = set()
        text = write()
        self.it.text = self._finish(text)
        return self.it

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
                    f"{s} has {with_article(name)} and the {name} is {said}|{s} wears {with_article(name)}, {with_article(said)} one|the {name} is {said}|"
                    f"{poss} {name} is {said}|{s} has {with_article(name)}, it is {said}|the {name} of {objective(s)} is {said}|"
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

    def _look_by_look(self) -> str:
        """As a child tells it: "there is a bunny and the bunny is blue and it has a hat and the hat is yellow"."""
        species = self._fresh()
        name, colour = self._species(species), self.pick(COLOURS)
        self.it.colours[species] = colour
        self.it.acts[species] = [("idle", NOWHERE)]
        again = self.pick((f"the {name}", "it", "it", f"the {name}", "he", "she"))
        joiner = self.pick((" and ", " and ", ", ", ", and ", ". "))
        parts = [
            f"{self.pick(('there is', 'I see', 'here is', 'we see', 'this is'))} {with_article(name)}",
            f"{again} is {self._colour(colour)}",
        ]
        if self.chance(0.7):
            kind, worn = self.pick(ACCESSORIES), self.pick(COLOURS)
            self.it.worn[species] = (kind, worn)
            thing = expand(phrases.ACCESSORIES[kind], self.rng)
            said = self._colour(worn)
            if self.chance(0.75):
                parts += [
                    f"{again} {self.pick(('has', 'wears', 'has got'))} {with_article(thing)}",
                    self.pick((f"the {thing} is {said}", f"its {thing} is {said}", f"it is {said}")),
                ]
            else:
                parts.append(f"{again} {self.pick(('has', 'wears', 'has got'))} {with_article(f'{said} {thing}')}")
        if self.chance(0.5):
            parts.append(f"{again} is {self._where()}")
        return joiner.replace(". ", ", ").join(parts)

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
