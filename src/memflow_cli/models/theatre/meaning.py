"""What theatre takes a prompt to mean: who is on stage, how they look, what they do, and where."""

from dataclasses import dataclass

from memflow_cli.models.theatre.trained_captions import (
    MOST_CLAUSES,
    MOST_WORDS,
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


@dataclass(frozen=True)
class Role:
    """A puppet that is on stage in a segment. `acts`: one, or what it does first and then."""

    species: str
    colour: str | None  # None: nobody said it, and a picture knows
    worn: tuple[str, str] | None  # accessory, its colour
    acts: tuple[Act, ...]
    says_looks: bool  # a caption tells how it looks; else memory knows

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

    @property
    def caption(self) -> str:
        """What theatre's text encoder is given: the prompt itself, or the meaning in the words that it knows best."""
        if self.written is not None:
            return self.written
        return self._caption([role.main_act for role in self.roles], dict.fromkeys(range(len(self.roles)), True))

    @property
    def beats(self) -> tuple[str, ...]:
        """The captions of the segment's two parts, where something happens first and something else then; else one."""
        if self.written is not None or not self._takes_turns:
            return (self.caption,)
        first, then, here = [], [], {}
        for index in range(len(self.roles)):
            before, after = self._turn(index)
            first.append(before)
            then.append(after)
            here[index] = after is not None
        opening = {index: before is not None for index, before in enumerate(first)}
        return self._caption(first, opening), self._caption(then, here, again=opening)

    @property
    def ends_travelling(self) -> bool:
        """Whether somebody comes or goes in the last of its captions."""
        if not self._takes_turns:
            return bool(self._travellers)
        return any(after.verb in TRAVELS for _, after in map(self._turn, range(len(self.roles))) if after)

    @property
    def _takes_turns(self) -> bool:
        return any(len(role.acts) > 1 for role in self.roles) or len(self._travellers) > 1

    @property
    def _travellers(self) -> list[int]:
        """Those who come or go; two of them do so one after the other."""
        return [index for index, role in enumerate(self.roles) if role.main_act.verb in TRAVELS]

    def _turn(self, index: int) -> tuple[Act | None, Act | None]:
        """What a puppet does in the first part and in the second; None: it is not there."""
        role = self.roles[index]
        if len(role.acts) > 1:
            before, after = role.acts[0], role.acts[-1]
            return None if before.verb == "away" else before, None if before.verb == "leave" else after
        act = role.acts[0]
        waits = index in self._travellers[1:]
        if act.verb in ("enter", "return"):
            return (None, act) if waits else (act, Act("stand"))
        if act.verb == "leave":
            return (Act("stand"), act) if waits else (act, None)
        return act, Act("stand") if act.verb == "walk" else act

    def _caption(self, acts: list[Act | None], here: dict[int, bool], again: dict[int, bool] | None = None) -> str:
        """`here`: who is; `again`: who was already described in the caption before this one."""
        names_setting = self.names_setting and again is None
        clauses: list[Clause] = []
        for index, (role, act) in enumerate(zip(self.roles, acts, strict=True)):
            if not here[index] or act is None:
                continue
            looks = role.says_looks and not (again and again[index])
            clauses.append(
                (role.species, role.colour if looks else None, role.worn if looks else None, act.verb, act.side)
            )
        while len(clauses) > MOST_CLAUSES:  # who only stands there is least missed
            clauses.remove(next((clause for clause in clauses if clause[3] == "stand"), clauses[-1]))
        if not clauses:
            return write_empty_caption(self.setting)
        text = write_caption(clauses, self.setting if names_setting else None)
        assert len(text.split()) <= MOST_WORDS, f"longer than captions are: {text}"
        return text

    def in_words(self) -> str:
        """'a red fox with a blue scarf comes in from the left, then waves; meadow'."""
        return f"{'; '.join(map(_role_in_words, self.roles)) or 'nobody'}; {_WHERE[self.setting]}"


_WHERE = {
    "meadow": "in a meadow", "beach": "on a beach", "desert": "in a desert",
    "snow": "in the snow", "city": "in a city at night", "forest": "in a forest",
}  # fmt: skip
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
