"""Who a story is about, and what one prompt says of them."""

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
