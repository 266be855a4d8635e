"""Who goes where on the stage, and when: what theatre people call blocking.

A prompt tells who does what; entrances and exits that it leaves unsaid, the sides on which they happen and the room that
one puppet makes for another are added here.
"""

from collections.abc import Mapping, Sequence

from memflow_cli.models.theatre.language.cast import Member, Told
from memflow_cli.models.theatre.language.meaning import Act

MOST_ON_STAGE = 2
ON_THE_SPOT = ("stand", "jump", "wave", "spin")
_OTHER_SIDE = {"left": "right", "right": "left"}


class Blocking:
    """The blocking of one prompt. `recent`: species, most recently mentioned first."""

    def __init__(self, cast: Mapping[str, Member], recent: Sequence[str], told: Told) -> None:
        self._cast = cast
        self._recent = recent
        self._told = told

    def acts(self, before: Sequence[Member], opens: bool) -> dict[str, list[Act]]:
        """What everybody does who is on stage at any time of this prompt; the cast is then where they are after it.

        `before`: who is on stage when it begins; `opens`: whether it begins a scene.
        """
        told = self._told
        was_here = {member.species for member in before}
        acts: dict[str, list[Act]] = {}
        for member in self._cast.values():
            said = told.acts.get(member.species, [])
            here = member.species in was_here
            if not said and not here:
                continue
            said = [*said, ("absent", "")] if told.is_empty and here and not _leaves(said) else said
            done = self._acts_of(member, said, here, opens)
            if done:
                acts[member.species] = done
            member.is_on_stage = bool(done) and done[-1].verb != "leave"
        if opens and len(acts) > 1:  # two who open a scene walking would run into each other, or off the stage
            acts = {who: [Act("stand") if act.verb == "walk" else act for act in done] for who, done in acts.items()}
        self._make_room(acts)
        self._step_aside(acts)
        self._place(acts)
        return acts

    def _acts_of(self, member: Member, said: Sequence[tuple[str, str]], here: bool, opens: bool) -> list[Act]:
        """At most two acts, entrances and exits where they are due; none: it is not there."""
        done: list[Act] = []
        for verb, way in _sides_told(said):
            if verb == "idle":
                continue
            if verb == "enter":
                if not here:
                    done.append(Act("return" if member.was_seen else "enter", self._side(member, way, entering=True)))
                here = True
            elif verb in ("leave", "absent"):
                if here or (opens and verb == "leave"):
                    done.append(Act("leave", self._side(member, way)))
                here = False
            elif not done or done[-1].verb != "leave":  # who has left does nothing more
                if not here and not opens:
                    done.append(Act("return" if member.was_seen else "enter", self._side(member, "", entering=True)))
                here = True
                done.append(Act(verb, self._direction(member, way) if verb == "walk" else None))
        if not done and said and all(verb == "idle" for verb, _ in said) and not here and not opens:
            done = [Act("return" if member.was_seen else "enter", self._side(member, "", entering=True))]
        if not done and (here or (said and opens and said[-1][0] == "idle")):
            done = [Act("stand")]
        if len(done) > 1 and done[-1].verb == "stand" and done[-2].verb in ("enter", "return", "walk"):
            done.pop()  # who has come stands there
        if len(done) > 1 and done[0].verb == "stand":
            done.pop(0)
        done = [act for act, before in zip(done, [None, *done]) if act != before]
        travels = [act for act in done if act.verb in ("enter", "return")]
        if len(done) > 2:
            done = [travels[0] if travels and travels[0] is not done[-1] else done[-2], done[-1]]
        return done

    def _side(self, member: Member, way: str, entering: bool = False) -> str:
        """The side that is meant: the one said, that where it came in or, of who comes back, went out, or else the nearest that
        is free.
        """
        came = member.came or (member.place if member.place in _OTHER_SIDE else "left")
        meant = (member.went or self._last_passed(member) or came) if entering else came
        if way in _OTHER_SIDE:
            side = way
        elif way == "same":
            side = meant
        elif way == "opposite":
            side = _OTHER_SIDE[meant]
        elif entering:
            taken = [other.place for other in self._cast.values() if other.is_on_stage and other is not member]
            side = "left" if "right" in taken else "right" if "left" in taken else came
        else:
            side = member.place if member.place in _OTHER_SIDE else came
        if entering:
            member.came = member.place = side
        else:
            member.went = side
        return side

    def _last_passed(self, newcomer: Member) -> str | None:
        """Where the other of whom was last told came in or went out; None for who has come in before itself."""
        if newcomer.came:
            return None
        others = (self._cast[species] for species in self._recent if species != newcomer.species)
        return next((other.came if other.is_on_stage else other.went for other in others if other.came), None)

    def _direction(self, member: Member, way: str) -> str:
        """Where a walk goes that nobody gave a side: to the middle, or from there to the side that is free."""
        if way in _OTHER_SIDE:
            return way
        if member.place in _OTHER_SIDE:
            return _OTHER_SIDE[member.place]
        others = [other.place for other in self._cast.values() if other.is_on_stage and other is not member]
        return "left" if "right" in others else "right"

    def _make_room(self, acts: dict[str, list[Act]]) -> None:
        """No more puppets than theatre draws at once: who has been there longest without a word steps back. Of newcomers alone,
        who is told of last does not come.
        """
        while sum(member.is_on_stage for member in self._cast.values()) > MOST_ON_STAGE:
            there = [species for species in reversed(self._recent) if self._cast[species].is_on_stage]
            last = next((species for species in there if species not in self._told.newcomers), None)
            member = self._cast[last or self._told.newcomers.pop()]
            member.is_on_stage = False
            if last:
                acts[last] = [Act("leave", self._side(member, ""))]
            else:
                del acts[member.species]
            does = "makes room" if last else "is left out"
            self._told.notes.append(f"theatre shows two puppets at once; the {member.species} {does}")

    def _step_aside(self, acts: dict[str, list[Act]]) -> None:
        """Who stands where another is about to come in goes to the middle first, and the other waits so long."""
        for species, done in list(acts.items()):
            arrival = done[0]
            if arrival.verb not in ("enter", "return"):
                continue
            for other in self._cast.values():
                stays = other.is_on_stage and other.species != species and other.place == arrival.side
                if stays and all(act.verb in ON_THE_SPOT for act in acts[other.species]):
                    after = [act for act in acts[other.species][-1:] if act.verb != "stand"]
                    acts[other.species] = [Act("walk", _OTHER_SIDE[other.place]), *after]
                    acts[species] = [Act("away"), *done]

    def _place(self, acts: dict[str, list[Act]]) -> None:
        """Where everybody is afterwards, as in theatre's world: who opens a scene alone stands in the middle."""
        here = [self._cast[species] for species in acts if self._cast[species].is_on_stage]
        for index, member in enumerate(here):
            for act in acts[member.species]:
                if act.verb in ("enter", "return"):
                    member.place = act.side or "left"
                elif act.verb == "walk" and act.side:
                    crosses = member.place == _OTHER_SIDE[act.side]
                    member.place = "middle" if crosses else act.side
            if not member.place:
                member.place = "middle" if len(acts) == 1 else ("left", "right")[min(index, 1)]
        for member in self._cast.values():
            if not member.is_on_stage and member.place:
                member.came = member.came or (member.place if member.place in _OTHER_SIDE else None)
                member.place = ""


def _sides_told(said: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is told twice, first without a side ("The fox is back! It enters from the right."), is told once, with it."""
    told: list[tuple[str, str]] = []
    for verb, way in said:
        if told and told[-1] == (verb, ""):
            told.pop()
        told.append((verb, way))
    return told


def _leaves(said: Sequence[tuple[str, str]]) -> bool:
    return bool(said) and said[-1][0] in ("leave", "absent")
