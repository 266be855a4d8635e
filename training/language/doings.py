"""Sentences in which somebody does something, alone or in company."""

from memflow_cli.models.theatre.language.vocabulary import SIDES
from training.language import phrases
from training.language.clauses import Clauses
from training.language.patterns import expand
from training.language.subjects import NOWHERE, Subject


class Doings(Clauses):
    """Writes them at random, into the example at hand."""

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

    def _three_in_a_row(self) -> str:
        """Short and without an "and": "the robot pauses, looks at the camera, waves"."""
        subject = self._anyone()
        verbs = [self.pick(("stand", "idle", "idle")), self.pick(("idle", "stand"))]
        verbs.append(self.pick(("wave", "jump", "spin", "wave", "leave")))
        here = any(puppet.species in subject.species for puppet in self._on_stage)
        if not here and self.chance(0.5):
            verbs[0] = "enter"
        side = self.pick((*SIDES, NOWHERE))
        acts = [(verb, side if verb in ("enter", "leave") else NOWHERE) for verb in verbs]
        self._note(subject, *acts[0])
        self._note(subject, *acts[-1])
        form = "plural" if subject.is_plural else "s"
        done = [self._predicate(*act, subject, form) for act in acts]
        last = self.pick((", ", ", ", " and ", ", and ", ", then ", ", and then "))
        return f"{subject.text} {done[0]}, {done[1]}{last}{done[2]}"

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
