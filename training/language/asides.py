"""What narrators say besides: of themselves, of what was or might be; it changes nothing, whatever words it is said in."""

from memflow_cli.models.theatre.language.vocabulary import COLOURS, SETTINGS, SIDES
from training.language import phrases
from training.language.company import Company
from training.language.patterns import expand
from training.language.subjects import NOWHERE, Subject, with_article


class Asides(Company):
    """Writes them at random, into the example at hand."""

    def _narrator(self) -> str:
        """The narrator speaks: nothing is seen of it, nobody comes or goes."""
        text = self._with_things(expand(phrases.NARRATOR, self.rng))
        if "{who}" not in text:
            return text
        if not self.it.known:
            return text.replace("{who}", "that")
        who = f"the {self._species(self.pick(self.it.known).species)}" if self.chance(0.5) else "it"
        return text.replace("{who}", who)

    def _and_says_so(self) -> str:
        """Something happens, and the narrator says something before or after."""
        text, aside = self._one_acts(), self._narrator()
        return self.pick((f"{text}, {aside}", f"{text}, and {aside}", f"{aside}, {text}", f"{aside} and {text}"))

    def _elsewhere(self) -> str:
        """A place that somebody only speaks of is not where the story is."""
        setting = self.pick(list(SETTINGS))
        where = expand(phrases.SETTINGS[setting], self.rng)
        place = expand(phrases.PLACES[setting], self.rng)
        if self._on_stage and self.chance(0.6):
            subject = self._present(self.pick(self._on_stage))
            form = "plural" if subject.is_plural else "s"
            self._note(subject, "idle", NOWHERE)
            return expand(phrases.ELSEWHERE_OF, self.rng, form).format(S=subject.text, where=where, place=place)
        return expand(phrases.ELSEWHERE, self.rng).format(where=where, place=place)

    def _relative(self) -> str:
        """What is told of somebody in passing, between commas, is not done now."""
        subject = self._anyone()
        if subject.is_plural or subject.text in ("it", "he", "she"):
            return self._and_says_so()
        verb, side = self._drawn_act(subject.species)
        self._note(subject, verb, side)
        passing = self._with_things(expand(phrases.PASSING, self.rng))
        s = subject.text.rstrip(",")
        return self._placed(f"{s}, {passing}, {self._predicate(verb, side, subject, 's')}", 0.15, verb)

    def _from_where_it_went(self) -> str:
        """Of one who comes back it may be said that it had gone, and where from it comes."""
        subject = self._absentee()
        if subject is None or subject.is_plural:
            return self._gives_up()
        self._note(subject, "enter", NOWHERE)
        return expand(
            f"{subject.text} (comes back|returns|is back|reappears) (from where {subject.pronoun} (went|had gone)|from wherever {subject.pronoun} (went|was|had been)|after all|in the end)"
            f"|{subject.text}, who (had left us|was gone|had gone away|went home), (comes back|returns|is back|is here again)"
            f"|here {subject.text} (is|comes) again, although {subject.pronoun} had (left|gone [home])",
            self.rng,
        )

    def _gives_up(self) -> str:
        """Tired of it, somebody goes; or it only says so and does something else."""
        if not self._on_stage:
            return self._and_says_so()
        subject = self._present(self.pick(self._on_stage))
        form = "plural" if subject.is_plural else "s"
        verb = self.pick(("leave", "leave", "leave", "stand", "jump", "spin", "wave"))
        side = self.rng.choices((*SIDES, NOWHERE, "same"), (2, 2, 2, 2))[0] if verb == "leave" else NOWHERE
        self._note(subject, verb, side)
        why = expand(phrases.WHY, self.rng, form)
        done = self._predicate(verb, side, subject, form)
        return f"{subject.text} {why}{self.pick((' and ', ', and ', ' and then ', ', so '))}{done}"

    def _because_of_another(self) -> str:
        """What somebody feels about another is why it does something; the other does nothing."""
        if (pair := self._one_of_two()) is None:
            return self._gives_up()
        subject, other = pair
        if subject.is_plural or all(puppet.species not in subject.species for puppet in self._on_stage):
            return self._to_another()
        verb, side = self._act_and_side()
        self._note(subject, verb, side)
        s, o = subject.text, f"the {self._species(other.species)}"
        pronoun = subject.pronoun
        feels = expand(phrases.FEELS, self.rng, "s").replace("{O}", o)
        joiner = self.pick((" so ", ", so ", ", and so ", " and therefore "))
        return f"{s} {feels}{joiner}{pronoun} {self._predicate(verb, side, subject, 's')}"

    def _says_it_twice(self) -> str:
        """The same told twice, and of the same one: "the bear has to go, he goes out to the right"."""
        if not self._on_stage:
            return self._comes_and_then()
        puppet = self.pick(self._on_stage)
        name, pronoun = self._again(puppet).strip(), self.pick(("it", "he", "she"))
        subject = self._present(puppet)
        verb, side = self._act_and_side()
        self._note(subject, verb, side)
        first = self._predicate(verb, NOWHERE, subject, "base")
        modal = self.pick(("has to", "must", "must to", "wants to", "is going to", "needs to", "will", "is ready to"))
        second = self._predicate(verb, side, subject, self.pick(("s", "s", "base", "past")))
        return f"{name} {modal} {first}{self.pick((', ', ', and ', '; ', ', so '))}{pronoun} {second}"

    def _notes(self) -> str:
        """As in a script or on a list: "robot (green, blue scarf)", "bird back on"."""
        if self._on_stage and self.chance(0.5):
            puppet = self.pick(self._on_stage)
            subject = self._present(puppet)
            verb, side = self._act_and_side()
            self._note(subject, verb, side)
            name = self._species(puppet.species)
            there = (
                f"{self.pick((' to the ', ', ', ' '))}{side}{self.pick((' of frame', '', ' of picture'))}"
                if side
                else ""
            )
            if verb == "leave":
                return f"{name} {self.pick(('off', 'goes off', 'out', 'exits', 'gone', 'leaves'))}{there}"
            return self.pick(
                (
                    f"{name} {self._predicate(verb, NOWHERE, subject, 'base')}",
                    f"{name} {self._predicate(verb, NOWHERE, subject, 's')}",
                    f"{name}: {self._predicate(verb, NOWHERE, subject, 'ing')}",
                )
            )
        if self.it.known:
            return self._notes_of_one_back() if self.chance(0.4) else self._and_says_so()
        told = []
        for _ in range(self.pick((1, 1, 2))):
            species, colour = self._fresh(), self.pick(COLOURS)
            self.it.colours[species] = colour
            self.it.acts[species] = [("idle", NOWHERE)]
            looks = self._colour(colour)
            if self.chance(0.6):
                looks += f", {self._wears(species).split(' ', 1)[1]}"
            told.append(f"{self._species(species)} ({looks})")
        joined = self.pick((" and ", ", ", " + ", ", and ")).join(told)
        are = "is" if len(told) == 1 else "are"
        text = self.pick(
            (joined, f"{joined} {are} there", f"on stage: {joined}", f"cast: {joined}", f"{joined} {are} in view")
        )
        return self._placed(text, 0.5)

    def _notes_of_one_back(self) -> str:
        """ "Bird back on, left of frame"."""
        subject = self._absentee()
        if subject is None or subject.is_plural:
            return self._and_says_so()
        side = self.rng.choices((*SIDES, NOWHERE), (2, 2, 2))[0]
        self._note(subject, "enter", side)
        name = self._species(subject.species[0])
        there = (
            f"{self.pick((' from the ', ', ', ' on the '))}{side}{self.pick((' of frame', ' again', ''))}"
            if side
            else ""
        )
        return f"{name} {self.pick(('back on', 'back', 'is back on', 'comes back on', 're-enters', 'on again'))}{there}"

    def _looks_after(self) -> str:
        """Looks told after whom they are of, or before: "a cat, as red as a rose", "all green, a scarf of blue around its neck"."""
        species, colour = self._fresh(), self.pick(COLOURS)
        self.it.colours[species] = colour
        said, name = self._colour(colour), with_article(self._species(species))
        verb = self.pick(("enter", "enter", "idle", "stand", "wave", "jump"))
        side = self.rng.choices((*SIDES, NOWHERE), (2, 2, 2))[0] if verb == "enter" else NOWHERE
        self.it.acts[species] = [(verb, side)]
        there = f" from the {side}" if side else ""
        does = {
            "enter": f"(comes in|appears|enters|arrives){there}",
            "idle": "(is here|is there|can be seen)",
            "stand": "(stands there|waits|stands still)",
            "wave": "(waves|says hello)",
            "jump": "(jumps|hops up and down)",
        }[verb]
        worn = ""
        if self.chance(0.5):
            kind, tint = expand("hat|scarf|cap|shawl", self.rng), self.pick(COLOURS)
            self.it.worn[species] = ("hat" if kind in ("hat", "cap") else "scarf", tint)
            part = "on its head" if kind in ("hat", "cap") else "around its neck"
            worn = self.pick((f", a {kind} of {self._colour(tint)} {part}", f", with a {kind} of {self._colour(tint)}"))
        like = self.pick(
            (
                f"as {said} as (a|any|the) {self._thing()}",
                f"all {said}",
                f"{said} from head to toe",
                f"{said} like (a|the) {self._thing()}",
            )
        )
        return self._placed(
            expand(f"{name}, {like}{worn}, {does}|{like}, {name} {does}{worn}|{name} {does}, {like}{worn}", self.rng),
            0.3,
        )

    def _never_takes_off(self) -> str:
        """What is worn and never taken off, gone without, forgotten: "who never goes out without his blue hat"."""
        subject = self._present(self._on_stage[0]) if self._on_stage and self.chance(0.4) else self._newcomer()
        species = subject.species[0]
        if subject.is_plural or self.it.worn.pop(species, None):
            self.it.colours.clear()
            return self._and_says_so()
        verb = self.pick(("idle", "idle", "stand", "wave"))
        self._note(subject, verb, NOWHERE)
        poss = subject.poss
        worn = f"{poss} {self._wears(species).split(' ', 1)[1]}"
        loves = expand(
            f"never (takes off|took off|goes out without|leaves home without|goes anywhere without|parts with|loses) {worn}|would not (give away|take off|leave home without) {worn}"
            f"|(loves|is proud of|sleeps in|has put on|puts on|has on|keeps on) {worn}|has come in {worn}",
            self.rng,
        )
        if subject.text in ("it", "he", "she") or self.chance(0.3):
            return f"{subject.text} {loves}"
        done = self._predicate(verb, NOWHERE, subject, "s")
        return self._placed(
            self.pick(
                (
                    f"{subject.text}, who {loves}, {done}",
                    f"{subject.text} {done} and {loves}",
                    f"there is {subject.text} who {loves}",
                )
            ),
            0.4,
        )

    def _request(self) -> str:
        """Somebody is asked to do something, and does it."""
        subject = self._present(self._on_stage[0]) if self._on_stage else self._newcomer()
        verb = self.pick(("wave", "wave", "jump", "spin", "stand", "leave", "enter" if not self._on_stage else "spin"))
        side = self.rng.choices((*SIDES, NOWHERE), (1, 1, 3))[0] if verb in ("leave", "enter") else NOWHERE
        self._note(subject, verb, side)
        done, s = self._predicate(verb, side, subject, "base"), subject.text
        return expand(
            f"would {s} be so (kind|good) as to {done}|could {s} [please] {done}|would {s} [please] {done}|may {s} {done}|let {s} {done}|please have {s} {done}|I ask {s} to {done}|can {s} {done}|{s} is asked to {done}|make {s} {done}",
            self.rng,
        )

    def _the_same_again(self) -> str:
        """No verb, and nothing but who is there, or back: "the very same rabbit", "just the robot, out in the snow"."""
        puppet = self.pick(self.it.known) if self.it.known else None
        if puppet is None:
            return self._there_is()
        name = self._species(puppet.species)
        self._note(Subject(name, (puppet.species,)), "idle", NOWHERE)
        where = f"{self.pick((', ', ' ', ', out ', ', this time '))}{self._where()}" if self.chance(0.4) else ""
        if puppet.worn and puppet.worn[1] and self.chance(0.3):
            self.it.worn[puppet.species] = puppet.worn
            name += (
                f", in the same {self._colour(puppet.worn[1])} {expand(phrases.ACCESSORIES[puppet.worn[0]], self.rng)}"
            )
        others = {other.species for other in self._on_stage} - {puppet.species}
        if others:
            return expand(
                f"the (very same|same|same old) {name}{where}|and who (is|was) there, the {name}{where}|there it is, the {name}{where}",
                self.rng,
            )
        return expand(
            f"the (very same|same|same old) {name}{where}|(just|only) the {name}{where}|and who (is|was) there, the [very same] {name}{where}|the {name} once more{where}|the {name} (of course|again){where}|who else but the {name}{where}",
            self.rng,
        )
