"""What theatre takes a prompt to mean: who is on stage, how they look, what they do, and where."""

from collections.abc import Sequence
from dataclasses import dataclass

from memflow_cli.models.theatre.language.trained_captions import (
    MOST_CLAUSES,
    MOST_WORDS,
    WHERE,
    Clause,
    write_caption,
    write_empty_caption,
)

TRAVELS = ("enter", "return", "leave")


@dataclass(frozen=True)
class Act:
    """`verb`: a key of vocabulary.ACTIONS, or "away": not there yet. `side`: left or right, for those that have one."""

    verb: str
    side: str | None = None


Acts = Sequence[Act | None]  # what each role does; None: it is not there


@dataclass(frozen=True)
class Role:
    """A puppet that is on stage in a segment. `acts`: one, or what it does first and then."""

    species: str
    colour: str | None  # None: nobody said it, and a picture knows
    worn: tuple[str, str] | None  # accessory, its colour
    acts: tuple[Act, ...]
    says_looks: bool  # a caption tells how it looks; else memory knows
    turn: tuple[int, int] = (0, 0)  # of two who come or go, the one with the lesser does so first

    @property
    def main_act(self) -> Act:
        """What it does where there is time for one thing only: coming and going before all else, then what is last."""
        return next((act for act in reversed(self.acts) if act.verb in TRAVELS), self.acts[-1])


@dataclass(frozen=True)
class Meaning:
    """A prompt's meaning. `roles`: in the order in which the story introduced them; nobody: an empty stage."""

    setting: str
    roles: tuple[Role, ...]
    names_setting: bool
    written: str | None = None  # the author's own words, where they are a caption as theatre was trained on
    notes: tuple[str, ...] = ()  # what of the prompt is not as it was asked
    says_where: bool = True  # else it is where it was, or where a story begins that never says it
    is_apart: bool = False  # shows nothing that was shown before the cut that its scene began with

    @property
    def caption(self) -> str:
        """What theatre's text encoder is given: the prompt itself, or the meaning in the words that it knows best."""
        if self.written is not None:
            return self.written
        return self._caption([role.main_act for role in self.roles])

    @property
    def beats(self) -> tuple[str, ...]:
        """The captions of the segment's parts, where something happens first and something else then; else one."""
        if self.written is not None or not self._takes_turns:
            return (self.caption,)
        texts: list[str] = []
        described: set[int] | None = None
        for acts in self._parts:
            texts.append(self._caption(acts, described))
            described = (described or set()) | {index for index, act in enumerate(acts) if act}
        return tuple(texts)

    @property
    def num_travelling(self) -> int:
        """How many captions there are up to the last in which somebody comes or goes."""
        if not self._takes_turns:
            return int(bool(self._travellers))
        travelling = [any(act and act.verb in TRAVELS for act in acts) for acts in self._parts]
        return max((index for index, travels in enumerate(travelling, 1) if travels), default=0)

    @property
    def _parts(self) -> list[Acts]:
        """What everybody does, part by part. Who has no more to do stands there, or does it still."""
        turns = [list(self._turns(index)) for index in range(len(self.roles))]
        for acts in turns:
            last = acts[-1]
            still = Act("stand") if last and last.verb in ("walk", *TRAVELS) else last
            gone = last is None or last.verb == "leave"
            acts += [None if gone else still] * (max(map(len, turns)) - len(acts))
        return list(zip(*turns, strict=True))

    @property
    def _takes_turns(self) -> bool:
        return any(len(role.acts) > 1 for role in self.roles) or len(self._travellers) > 1

    @property
    def _travellers(self) -> list[int]:
        """Those who come or go; two of them do so one after the other, in this order."""
        travelling = [index for index, role in enumerate(self.roles) if role.main_act.verb in TRAVELS]
        return sorted(travelling, key=lambda index: self.roles[index].turn)

    def _turns(self, index: int) -> tuple[Act | None, ...]:
        """What a puppet does in each part; None: it is not there."""
        role, stand = self.roles[index], Act("stand")
        waits = index in self._travellers[1:]
        arrives = role.acts[0].verb in ("enter", "return")
        if self._acts_after_all_came:
            last = role.acts[-1] if len(role.acts) > 1 else stand
            return (None, role.acts[0], last) if waits else (role.acts[0], stand, last)
        if self._act_before_all_go:
            first = role.acts[0] if len(role.acts) > 1 else stand
            return (first, stand, role.acts[-1]) if waits else (first, role.acts[-1], None)
        if role.acts[0].verb == "away" and len(role.acts) > 2:
            return None, role.acts[1], role.acts[-1]
        if len(role.acts) > 1:
            before, after = role.acts[0], role.acts[-1]
            return None if before.verb == "away" else before, after
        act = role.acts[0]
        if arrives:
            return (None, act) if waits else (act, stand)
        if act.verb == "leave":
            return (stand, act) if waits else (act, None)
        return act, stand if act.verb == "walk" else act

    @property
    def _acts_after_all_came(self) -> bool:
        """Whether all come in, and some of them then do something."""
        all_come = all(role.acts[0].verb in ("enter", "return") for role in self.roles)
        return (
            all_come and len(self._travellers) == len(self.roles) > 1 and any(len(role.acts) > 1 for role in self.roles)
        )

    @property
    def _act_before_all_go(self) -> bool:
        """Whether all leave, and some of them do something before."""
        all_go = all(role.acts[-1].verb == "leave" for role in self.roles)
        first = [role.acts[0].verb for role in self.roles if len(role.acts) > 1]
        return all_go and len(self.roles) > 1 and bool(first) and not {*first} & {"away", *TRAVELS}

    def _caption(self, acts: Acts, described: set[int] | None = None) -> str:
        """`described`: who was, in the captions before this one."""
        clauses: list[Clause] = []
        for index, (role, act) in enumerate(zip(self.roles, acts, strict=True)):
            if act is None:
                continue
            looks = role.says_looks and index not in (described or ())
            clauses.append(
                (role.species, role.colour if looks else None, role.worn if looks else None, act.verb, act.side)
            )
        while len(clauses) > MOST_CLAUSES:  # who only stands there is least missed
            clauses.remove(next((clause for clause in clauses if clause[3] == "stand"), clauses[-1]))
        if not clauses:
            return write_empty_caption(self.setting)
        text = write_caption(clauses, self.setting if self.names_setting and described is None else None)
        assert len(text.split()) <= MOST_WORDS, f"longer than captions are: {text}"
        return text

    def in_words(self) -> str:
        """'a red fox with a blue scarf comes in from the left, then waves; meadow'."""
        return f"{'; '.join(map(_role_in_words, self.roles)) or 'nobody'}; {self.where}"

    @property
    def where(self) -> str:
        """'in a meadow'."""
        return WHERE[self.setting]


_DOING = {
    "stand": "stands", "walk": "walks", "jump": "jumps", "wave": "waves", "spin": "spins",
    "enter": "comes in", "return": "comes back", "leave": "leaves",
}  # fmt: skip


def _role_in_words(role: Role) -> str:
    worn = f" with a {role.worn[1]} {role.worn[0]}" if role.worn else ""
    done = [
        _DOING[act.verb]
        + ({"enter": " from the ", "return": " from the "}.get(act.verb, " to the ") + act.side if act.side else "")
        for act in role.acts
        if act.verb != "away"
    ]
    looks = f"{role.colour} {role.species}" if role.colour else f"{role.species} as in its picture"
    return f"{looks}{worn} {', then '.join(done)}"
