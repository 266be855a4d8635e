"""Who a story is about, and what one prompt says of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Member:
    """A puppet of the story. `place`: left, middle or right, while on stage; `came`, `went`: the sides on which it last came in
    and went out; `is_pictured`: a picture tells how it looks, and it counts as seen before the story begins.
    """

    species: str
    colour: str | None = None
    worn: tuple[str, str | None] | None = None
    is_on_stage: bool = False
    place: str = ""
    came: str | None = None
    went: str | None = None
    was_seen: bool = False
    is_pictured: bool = False

    def wears(self, kind: str, colour: str | None) -> bool:
        """Of whatever colour, if none is given."""
        return self.worn is not None and self.worn[0] == kind and colour in (None, self.worn[1])


@dataclass
class Told:
    """What a prompt's sentences say, gathered."""

    acts: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    described: set[str] = field(default_factory=set)
    setting: str | None = None
    is_empty: bool = False
    notes: list[str] = field(default_factory=list)
    newcomers: list[str] = field(default_factory=list)  # species that this prompt introduces
    sides: dict[str, str] = field(default_factory=dict)  # where on the stage it says that somebody is: left or right
    turns: dict[str, tuple[int, int]] = field(default_factory=dict)  # of those who come or go: `turns.turns_told`

    @property
    def leaving(self) -> list[str]:
        """Who leaves in what was told so far."""
        return [species for species, acts in self.acts.items() if acts[-1][0] == "leave"]

    @property
    def next_turn(self) -> int:
        return 1 + max((number for number, _ in self.turns.values()), default=-1)

    def turn(self, species: str) -> tuple[int, int]:
        """Of two who come or go, the one with the lesser turn does so first. Two newcomers told of as one are equal."""
        number, place = self.turns.get(species, (0, 0))
        return number, 0 if species in self.newcomers else place


def tells_of_others_elsewhere(told: Told, before: Sequence[Member], setting: str | None) -> bool:
    """Whether a prompt leaves those on stage behind: "meanwhile, on the beach, a cat waves". Who comes in comes to somebody."""
    is_another_place = None not in (told.setting, setting) and told.setting != setting
    present = {member.species for member in before}
    comes = any(verb == "enter" for acts in told.acts.values() for verb, _ in acts)
    return is_another_place and bool(told.acts) and not comes and not present & told.acts.keys()


def clear_for_scene(cast: Iterable[Member], told: Told, before: Sequence[Member], setting: str | None) -> None:
    """In a new scene those are there who are told of; all who were, if neither anybody nor another place is told."""
    if not told.acts and not told.is_empty and told.setting in (None, setting):
        told.acts = {member.species: [("idle", "")] for member in before}
    for member in cast:
        member.place = ""
        member.is_on_stage = member.is_on_stage and member.species in told.acts


class Scenes:
    """Tells which segments stand apart: what they show was not shown before the cut that their scene began with."""

    def __init__(self) -> None:
        self._settings: set[str] = set()
        self._own: set[str] | None = None  # species that came into the story in a scene apart

    def show(self, setting: str, species: set[str], cast: Mapping[str, Member], cut: bool) -> bool:
        """The next segment's, which shows these species of the cast."""
        seen = {each for each in species if cast[each].was_seen}
        for each in species:
            cast[each].was_seen = True
        if setting not in self._settings or cut:
            is_apart = cut and bool(species) and not seen and setting not in self._settings
            self._own = set() if is_apart else None
        self._settings.add(setting)
        if self._own is None:
            return False
        self._own |= species - seen
        return species <= self._own
