"""Clauses: what a subject does, in one of many orders, and where it is; noted as they are written."""

import re
from collections.abc import Sequence

from memflow_cli.models.theatre.language.vocabulary import SETTINGS, SIDES
from training.language import phrases
from training.language.patterns import expand
from training.language.subjects import NOWHERE, Subject, Subjects


class Clauses(Subjects):
    """Writes clauses at random."""

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
        text = self._with_things(text)
        while "{other}" in text:
            text = text.replace("{other}", self._other(subject), 1)
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
                f"{s} *decide to {said('base')}|{s} {be} (about|going|ready) to {said('base')}|{s} (will|must|can|shall|may) {said('base')}|{s} *want to {said('base')}|{s} *go on to {said('base')}|{s} [then] *proceed to {said('base')}|{s} *do {said('base')}|{s} cannot help but {said('base')}|now it is time for {objective} to {said('base')}|{s} *try to {said('base')}|{s} ({had}) {said('base')}|{s} ({had}) {said('base')}",
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

    def _nothing(self) -> str:
        text = expand(phrases.NOISE, self.rng)
        text = self._with_things(text)
        if self.noise and self.chance(0.15):
            words = " ".join(self.pick(self.noise) for _ in range(self.rng.randrange(1, 7)))
            text = self.pick((f"{text}, {words}", words, f"the {words}", f"{words} {text}"))
        return text
