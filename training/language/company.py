"""Sentences about one puppet that mention another, or say what somebody does not do: whoever is only mentioned does nothing."""

from dataclasses import replace

from memflow_cli.models.theatre.language.reader import Seen
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SIDES, SPECIES
from training.language import phrases
from training.language.doings import Doings
from training.language.patterns import expand
from training.language.subjects import NOWHERE, Subject, with_article

ACTIONS = ("jump", "wave", "spin", "leave", "leave", "walk", "stand")


class Company(Doings):
    """Writes them at random, into the example at hand."""

    def _two_are(self, on_stage: bool) -> bool:
        """Whether the story knows two; the last mentioned are then on stage, or nobody is."""
        known = self.it.known
        if len(known) < 2:
            return False
        self.it.known = tuple(replace(puppet, is_on_stage=on_stage and place < 2) for place, puppet in enumerate(known))
        return True

    def _one_of_two(self) -> tuple[Subject, Seen] | None:
        """Who does something, and another on stage who is mentioned."""
        if not self._on_stage:
            return None
        other = self.pick(self._on_stage)
        rest = [puppet for puppet in self._on_stage if puppet is not other]
        self.used.add(other.species)
        if rest and self.chance(0.7):
            return self._present(self.pick(rest)), other
        return (self._absentee() if self.chance(0.5) else None) or self._newcomer(), other

    def _named_in_passing(self, other: Seen, subject: Subject) -> str:
        """Another who is mentioned; what is said of its looks is its own."""
        how = self.rng.random()
        if how < 0.12 and subject.text not in ("it", "he", "she", "they"):
            return self.pick(("it", "him", "her"))
        if how < 0.2:
            return self.pick(("the other", "the other one", f"{subject.poss} friend", "the other animal"))
        if how < 0.4 and other.colour:
            return f"{self.pick(('the', 'the', 'a'))} {self._colour(other.colour)} {self._species(other.species)}"
        if how < 0.5 and other.worn and other.worn[1]:
            kind = expand(phrases.ACCESSORIES[other.worn[0]], self.rng)
            owner = self.pick(("the", "its", "his", "her"))
            return f"the {self._species(other.species)} {self.pick(('with', 'in'))} {owner} {self._colour(other.worn[1])} {kind}"
        return f"the {self._species(other.species)}"

    def _act_and_side(self) -> tuple[str, str]:
        verb = self.pick(ACTIONS)
        return verb, self.pick((*SIDES, NOWHERE)) if verb == "leave" else NOWHERE

    def _to_another(self) -> str:
        """ "The cat waves to the bird and leaves": the bird does neither."""
        if (pair := self._one_of_two()) is None:
            return self._two_there()
        subject, other = pair
        o, s = self._named_in_passing(other, subject), subject.text
        form = "plural" if subject.is_plural else "s"
        if self.chance(0.15):
            s = self._dressed(subject) or s
        first, towards = self.rng.choices(list(phrases.TOWARDS.items()), (5, 4, 2, 1, 1))[0]
        here = any(puppet.species in subject.species for puppet in self._on_stage)
        if not here:
            self._note(subject, "enter", NOWHERE)
            come = "*come back" if any(puppet.species in subject.species for puppet in self.it.known) else "*come in"
            towards = f"{come} and ({towards})"
        self._note(subject, first, NOWHERE)
        told = lambda how: expand(towards, self.rng, how).replace("{O}", o).replace("{poss}", subject.poss)  # noqa: E731
        if self.chance(0.35):
            return self._placed(f"{s} {told(form)}", 0.1)
        second = self._act_and_side()
        self._note(subject, *second)
        said = lambda how: self._predicate(*second, subject, how)  # noqa: E731
        if here and self.chance(0.2):
            return self.pick(
                (
                    f"having {told('done')}, {s} {said(form)}",
                    f"after {told('ing')}, {s} {said(form)}",
                    f"{s} {told(form)} before {subject.pronoun} {said(form)}",
                    f"{s} {told(form)} before {said('ing')}",
                    f"{told('ing')}, {s} {said(form)}",
                )
            )
        past = "past" if form == "s" and self.chance(0.2) else form
        joiner = self.pick((" and ", " and ", " and then ", ", then ", ", and ", " and at last "))
        return f"{s} {told(past)}{joiner}{said(past)}"

    def _dressed(self, subject: Subject) -> str | None:
        """The subject with what it wears: nobody else who is mentioned has it on."""
        puppet = next((each for each in self._on_stage if (each.species,) == subject.species), None)
        if puppet is None or not puppet.worn or not puppet.worn[1]:
            return None
        self.it.worn[puppet.species] = puppet.worn
        kind = expand(phrases.ACCESSORIES[puppet.worn[0]], self.rng)
        owner, how = self.pick(("its", "his", "her", "the")), self.pick(("in", "with", "wearing"))
        return f"the {self._species(puppet.species)} {how} {owner} {self._colour(puppet.worn[1])} {kind}"

    def _leaves_another(self) -> str:
        """ "The fox goes home without the bear": the bear stays."""
        if not self._two_are(on_stage=True):
            return self._to_another()
        stays, goes = self.rng.sample(self._on_stage, 2)
        subject = self._present(goes)
        side = self.rng.choices((*SIDES, NOWHERE), (2, 2, 4))[0]
        self._note(subject, "leave", side)
        o, s, there = self._named_in_passing(stays, subject), subject.text, f" to the {side}" if side else ""
        poss, thing = subject.poss, self._thing()
        go = expand(
            "goes home|leaves|goes away|goes off|walks off|wanders off|runs away|goes its way|hurries off", self.rng
        )
        return expand(
            f"{s} {go}{there} without {o}|without {o}, {s} {go}{there}|{s} leaves {o} [alone] and {go}{there}|{s} leaves {o} (behind|alone|to itself)|"
            f"{s} {go}{there}, leaving {o} (alone|behind)|{s} left{there}|{s} (has gone|is gone|left){there}, but not {o}|{s} (walks|goes) away from {o}{there}|"
            f"out{there} (walks|goes|hops) {s}|{s} takes leave of {o} and {go}{there}|{s} {go}{there}, without {poss} (friend|companion|{thing})|without a word to {o}, {s} {go}{there}|it is {s} (who|that) {go}{there}, not {o}|it is not {o} but {s} (who|that) {go}{there}|not {o} but {s} {go}{there}|{o} is left by {s}|{s} is tired [of {o}] and {go}{there}",
            self.rng,
        )

    def _despite(self) -> str:
        """What somebody does not do, or does not feel, and then what it does."""
        subject = self._present(self.pick(self._on_stage)) if self._on_stage else self._newcomer()
        verb, side = self._act_and_side()
        plural = subject.is_plural
        form, do, be = ("plural", "do", "are") if plural else ("s", "does", "is")
        done = self._predicate(verb, side, subject, form)
        not_done = self.pick([each for each in ("jump", "wave", "spin", "leave", "walk") if each != verb])
        unlike = self._predicate(not_done, NOWHERE, subject, "base")
        s, pronoun = subject.text, "they" if plural else subject.pronoun
        self._note(subject, verb, side)
        short = expand("not|n't", self.rng)
        do_not = f"{do}{'' if short != 'not' else ' '}{short}"
        while_not = expand(
            "(stay|wait|stand still|sleep|rest|talk|be seen) [(any longer|any more|for long|long)]", self.rng
        )
        if verb == "stand":
            return expand(
                f"{s} (wants|would like|is about|has|tries|was going) to {unlike}, but [{pronoun}] {done}|{s} does not {unlike} but {done}|{s} never {{did}}, {pronoun} {done}".replace(
                    "{did}", "moves" if not plural else "move"
                ),
                self.rng,
            )
        return expand(
            f"{s} {do_not} (want to|wish to|like to) {while_not} and {done}|{s} (can not|cannot|can't|could not) {while_not} (and|and so|so {pronoun}) {done}|"
            f"{s} {be} not (happy|glad|tired|afraid|shy|sleepy|alone|hungry|sad) [(at all|any more)] and {done}|{s} {do_not} {while_not} (and|but) {done}|"
            f"{s} {do_not} stop {self._predicate(verb, side, subject, 'ing')}|{s} never (stops|gets tired of) {self._predicate(verb, side, subject, 'ing')}|"
            f"{s} {do_not} {unlike}, {pronoun} {done}|not tired at all, {s} {done}|{s} {do_not} say a word and {done}|nobody asked for it, but {s} {done}",
            self.rng,
        )

    def _all_but_one(self) -> str:
        """Of two, one does something and the other does not; nobody goes who is not told to."""
        if not self._two_are(on_stage=True):
            return self._despite()
        actor, other = self.rng.sample(self._on_stage, 2)
        verb = self.pick(("jump", "wave", "spin"))
        subject, quiet = (Subject(self._again(each).strip(), (each.species,)) for each in (actor, other))
        self._note(subject, verb, NOWHERE)
        self._note(quiet, "stand", NOWHERE)
        does, base = (self._predicate(verb, NOWHERE, subject, form) for form in ("s", "base"))
        return expand(
            f"(everyone|everybody|each of them) {does} (except|but|apart from) {quiet.text}|{subject.text} {does}, not {quiet.text}|{subject.text} {does}, but not {quiet.text}|"
            f"{quiet.text} (never moves|does not move|does nothing|stands still), it is {subject.text} (that|who) {does}|it is not {quiet.text} (that|who) {does} but {subject.text}|"
            f"{quiet.text} does not {base}, {subject.text} does|{subject.text} {does}, {quiet.text} does not|unlike {quiet.text}, {subject.text} {does}|{subject.text}, not {quiet.text}, {does}",
            self.rng,
        )

    def _nobody_else(self) -> str:
        """Nobody else is there: whoever is there stays."""
        if not self._on_stage:
            subject = self._newcomer()
        elif len(self._on_stage) == 1:
            subject = self._present(self._on_stage[0])
        else:
            subject = Subject("they", tuple(puppet.species for puppet in self._on_stage), "they", True)
        self._note(subject, "stand", NOWHERE)
        s, be = subject.text, "are" if subject.is_plural else "is"
        only = self.pick(("the two of them", "these two", "them", "the two friends")) if subject.is_plural else s
        only = {"he": "him", "she": "her"}.get(only, only)
        nobody = "(nobody|no one)"
        where = self._where() if self.chance(0.3) else "there"
        return expand(
            f"{nobody} else (is|is to be seen|can be seen) (there|around|here|{where}), (just|only) {only}|{s} {be} [all] alone, {nobody} else is (around|there|to be seen)|"
            f"{s} {be} [all] alone (there|{where}), [and] there is {nobody} else|there is {nobody} but {only} {where}|{nobody} but {only} is {where}|"
            f"{s} {be} all alone {where}|{s} {be} [quite] alone (now|again)|apart from {only} {nobody} is (there|here|to be seen)|{s} {be} the only {'ones' if subject.is_plural else 'one'} (here|{where})|"
            f"{only} and {nobody} else|besides {only} there is {nobody} {where}",
            self.rng,
        )

    def _nothing_happens(self) -> str:
        """With somebody there, that nobody comes and nothing happens says nothing of who is there."""
        self.it.is_empty = not self._on_stage
        return expand(phrases.UNEVENTFUL, self.rng)

    def _they_return(self) -> str:
        """Two who are away are called back in one word."""
        if not self._two_are(on_stage=False):
            return self._comes_and_then()
        both = Subject("they", tuple(puppet.species for puppet in self.it.known[:2]), "they", True)
        side = self.rng.choices((*SIDES, NOWHERE), (1, 1, 6))[0]
        self._note(both, "enter", side)
        return expand(phrases.BOTH_RETURN, self.rng) + (f" from the {side}" if side else "")

    def _comes_and_then(self) -> str:
        """Who comes in, or back, does the next thing too, and nobody else does: "back comes the fox, and it jumps"."""
        subject = (self._absentee() if self.chance(0.6) else None) or self._newcomer()
        if subject.is_plural:
            return self._one_acts()
        side = self.rng.choices((*SIDES, NOWHERE), (1, 1, 2))[0]
        verb = self.pick(("jump", "wave", "spin", "stand", "idle"))
        self._note(subject, "enter", side)
        self._note(subject, verb, NOWHERE)
        s, pronoun, there = subject.text, subject.pronoun, f" from the {side}" if side else ""
        known = any(puppet.species in subject.species for puppet in self.it.known)
        come = (
            self.pick(("comes back", "is back", "returns"))
            if known
            else self.pick(("comes in", "comes", "appears", "walks in"))
        )
        then = self._predicate(verb, NOWHERE, subject, "s")
        joiner = self.pick((" and", ", and", ";", ", where", ", and now", ", then", ", and there"))
        return expand(
            f"{s} {come}{there}{joiner} {pronoun} {then}|{'back' if known else 'in'} comes {s}{there}{joiner} {pronoun} {then}|{s}, {pronoun} {come}{there} and {then}",
            self.rng,
        )

    def _itself_again(self) -> str:
        """The subject said twice: "the bear, it turns"."""
        if not self._on_stage:
            return self._comes_and_then()
        puppet = self.pick(self._on_stage)
        subject = Subject(
            f"the {self._species(puppet.species)}", (puppet.species,), self.pick(("it", "it", "he", "she"))
        )
        verb, side = self._act_and_side()
        self._note(subject, verb, side)
        done = self._predicate(verb, side, subject, "s")
        return f"{subject.text}{self.pick(('', ',', ','))} {subject.pronoun} {done}"

    def _crosses(self) -> str:
        """In on one side and out on the other, or on the same."""
        subject = (self._absentee() if self.chance(0.4) else None) or self._newcomer()
        if subject.is_plural:
            return self._one_acts()
        first, last = self.pick(SIDES), self.pick(SIDES)
        self._note(subject, "enter", first)
        self._note(subject, "leave", last)
        go = "(walks|comes|hops|runs|wanders|strolls)"
        return expand(
            f"{subject.text} {go} in (from|on) the {first}[, crosses [the stage]|, passes by] and (leaves|goes out|goes off|disappears|exits) (to|on) the {last}|"
            f"{subject.text} (comes|enters) from the {first}, (crosses|passes|walks past) and (is gone|leaves|goes out) (to|on) the {last}",
            self.rng,
        )

    def _like_another(self) -> str:
        """A comparison brings nobody in: "it hops like a rabbit"."""
        if not self._on_stage:
            return self._one_acts()
        subject = self._present(self.pick(self._on_stage))
        away = [
            each for each in SPECIES if each not in {puppet.species for puppet in self.it.known} | set(subject.species)
        ]
        if not away:
            return self._one_acts()
        a_species = with_article(self._species(self.pick(away)))
        form = "plural" if subject.is_plural else "s"
        be = "are" if subject.is_plural else "is"
        if self.chance(0.5):
            verb = self.pick(("jump", "wave", "spin", "stand"))
            self._note(subject, verb, NOWHERE)
            done = self._predicate(verb, NOWHERE, subject, form)
            return f"{subject.text} {done} {self.pick(('like', 'just like', 'as if it were', 'almost like', 'higher than', 'better than'))} {a_species}"
        self._note(subject, "idle", NOWHERE)
        adjective = self._adjective()
        return expand(
            f"{subject.text} {be} as {adjective} as {a_species}|{subject.text} (thinks|dreams|sings|tells us|reads) (of|about) {a_species}|{subject.text} looks like {a_species}|"
            f"{subject.text} {be} thinking of {a_species}|{subject.text} {be} (no|not) {a_species[a_species.index(' ') + 1 :]}|{subject.text} {be} {adjective} like {a_species}|{subject.text} would like to be {a_species}",
            self.rng,
        )

    def _anothers_things(self) -> str:
        """Who looks at another's hat does not wear it."""
        if not self._two_are(on_stage=True):
            return self._to_another()
        looks, owner = self.rng.sample(self._on_stage, 2)
        subject = self._present(looks)
        kind = owner.worn[0] if owner.worn else self.pick(ACCESSORIES)
        thing = expand(phrases.ACCESSORIES[kind], self.rng)
        colour = f"{self._colour(owner.worn[1])} " if owner.worn and owner.worn[1] and self.chance(0.6) else ""
        of = f"the {self._species(owner.species)}"
        theirs = self.pick((f"{of}'s {colour}{thing}", f"the {colour}{thing} of {of}", f"the {colour}{thing}"))
        self._note(subject, "idle", NOWHERE)
        likes = expand(
            "likes|loves|looks at|admires|wonders at|sees|wants|is fond of|cannot stop looking at|asks about", self.rng
        )
        return f"{subject.text} {likes} {theirs}"

    def _looks_in_one(self) -> str:
        """Colour and dress in one sentence: "it is green and it has a white scarf"."""
        subject = self._present(self._on_stage[0]) if self._on_stage else self._newcomer()
        if subject.is_plural:
            return self._nothing()
        species = subject.species[0]
        self.it.worn.pop(species, None)
        self._note(subject, "idle", NOWHERE)
        colour = self.pick(COLOURS)
        self.it.colours[species] = colour
        said, worn = self._colour(colour), self._wears(species)
        s, pronoun = subject.text, subject.pronoun
        return expand(
            f"{s} is {said} (and [{pronoun}]|, and {pronoun}|, {pronoun}) (has|wears|is wearing|has got|has on) {worn}|{s} is {said}, with {worn}|{s} is {said} with {worn}|"
            f"{s} has {said} (fur|paint|ears|skin) and {worn}|{s} (has|wears) {worn} and is {said}|{s} is {said} and {subject.poss} {worn[2:]} looks nice",
            self.rng,
        )

    def _alike(self) -> str:
        """Two of one colour, or dressed alike."""
        first, second = self.rng.sample(SPECIES, 2)
        if {first, second} & {puppet.species for puppet in self.it.known}:
            return self._two_there()
        self.used |= {first, second}
        names = [self._species(species) for species in (first, second)]
        pair = f"{with_article(names[0])} and {with_article(names[1])}"
        both = Subject(pair, (first, second), "they", True)
        verb = self.pick(("idle", "idle", "stand", "jump", "wave", "enter"))
        self._note(both, verb, NOWHERE)
        done = self._predicate(verb, NOWHERE, both, "plural")
        if self.chance(0.5):
            colour = self.pick(COLOURS)
            self.it.colours |= {first: colour, second: colour}
            said = self._colour(colour)
            return self._placed(
                expand(
                    f"{pair}, both [of them] {said}, {done}|two {said} (animals|friends|puppets|fellows), {pair}, {done}|two {said} (animals|friends): {pair}|{pair}, both {said}|both {pair} are {said}",
                    self.rng,
                ),
                0.4,
            )
        kind, colour = self.pick(ACCESSORIES), self.pick(COLOURS)
        self.it.worn |= {first: (kind, colour), second: (kind, colour)}
        thing = f"{self._colour(colour)} {expand(phrases.ACCESSORIES[kind], self.rng)}"
        plural = f"{thing[:-1]}ves" if thing.endswith("f") else f"{thing}s"
        return self._placed(
            expand(
                f"{pair}, both (wearing|in|with) {plural}, {done}|{pair}, each (with|in|wearing) {with_article(thing)}, {done}|{pair} (wear|have) {plural}|{pair} both wear {with_article(thing)}",
                self.rng,
            ),
            0.4,
        )

    def _is_called(self) -> str:
        """A name and whose it is."""
        on = self._on_stage
        if len(on) == 2 and self.chance(0.3):
            first, second = self.rng.sample(on, 2)
            names = [self._name(each.species) for each in (first, second)]
            for each in (first, second):
                self.it.acts[each.species] = [("idle", NOWHERE)]
            kinds = [self._species(each.species) for each in (first, second)]
            return self.pick(
                (
                    f"the {kinds[0]} is called {names[0]}, the {kinds[1]} {names[1]}",
                    f"the {kinds[0]} is {names[0]} and the {kinds[1]} is {names[1]}",
                    f"their names are {names[0]} the {kinds[0]} and {names[1]} the {kinds[1]}",
                    f"{names[0]} is the {kinds[0]}, {names[1]} the {kinds[1]}",
                )
            )
        if on and self.chance(0.5):
            puppet = on[0]
            species, poss = puppet.species, self.pick(("its", "his", "her"))
            name = self._name(species)
            self.it.acts[species] = [("idle", NOWHERE)]
            pronoun = {"its": "it", "his": "he", "her": "she"}[poss]
            more = ""
            if self.chance(0.4):
                colour = self.pick(COLOURS)
                self.it.colours[species] = colour
                more = f" and {pronoun} is {self._colour(colour)}"
            return expand(
                f"{poss} name is {name}{more}|{name} is {poss} name{more}|{pronoun} is called {name}{more}|we call (it|him|her) {name}{more}|the {self._species(species)} is {name}{more}",
                self.rng,
            )
        species = self._fresh()
        name, described = self._name(species), self._described(species)
        verb = self.pick(("idle", "idle", "idle", "stand", "enter", "wave", "jump"))
        subject = Subject(name, (species,))
        self._note(subject, verb, NOWHERE)
        if verb == "idle":
            return self._placed(
                expand(
                    f"{name} is {described}|{name} is {described}|this is {name}, {described}|meet {name}, {described}|here is {name}, {described}",
                    self.rng,
                ),
                0.3,
            )
        return self._placed(f"{name}, {described}, {self._predicate(verb, NOWHERE, subject, 's')}", 0.3)

    def _two_by_name(self) -> str:
        """ "Rosie the rabbit and Finn the fox are in the city"."""
        if self.it.known:
            return self._is_called()
        species = [self._fresh(), self._fresh()]
        parts = []
        for each in species:
            described = self._described(each, "the") if self.chance(0.4) else f"the {self._species(each)}"
            parts.append(f"{self._name(each)} {described}".strip())
        both = Subject(" and ".join(parts), tuple(species), "they", True)
        verb = self.pick(("idle", "stand", "idle", "enter", "wave", "jump"))
        self._note(both, verb, NOWHERE)
        return self._placed(f"{both.text} {self._predicate(verb, NOWHERE, both, 'plural')}", 0.6, verb)

    def _by_their_looks(self) -> str:
        """ "The red one jumps, the blue one spins"."""
        if not self._two_are(on_stage=True) or len({puppet.colour for puppet in self._on_stage} - {None}) != 2:
            return self._two_act()
        first, second = self.rng.sample(self._on_stage, 2)
        acts = [self.pick(("jump", "wave", "spin", "stand", "idle")) for _ in range(2)]
        subjects = []
        for puppet, act in zip((first, second), acts, strict=True):
            self.it.colours[puppet.species] = puppet.colour
            subjects.append(
                Subject(
                    f"the {self._colour(puppet.colour)} {self.pick(('one', 'one', 'fellow', 'animal'))}".strip(),
                    (puppet.species,),
                )
            )
            self._note(subjects[-1], act, NOWHERE)
        done = [f"{s.text} {self._predicate(act, NOWHERE, s, 's')}" for s, act in zip(subjects, acts, strict=True)]
        return self.pick((", ", ", and ", " and ", " while ", "; ")).join(done)
