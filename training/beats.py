"""Beats: who is on stage for a few chunks, and what each does; where that leaves everybody."""

from dataclasses import dataclass, field

from memflow_cli.models.theatre.language.vocabulary import SIDES


@dataclass(frozen=True)
class Act:
    verb: str  # a key of vocabulary.ACTIONS, but "return"
    side: str | None = None


@dataclass(frozen=True)
class Beat:
    """What happens for a few chunks: one prompt. `acts` holds every puppet on stage, by its index."""

    num_chunks: int
    setting: str
    backdrop: int
    acts: dict[int, Act] = field(default_factory=dict)
    cut: bool = False


def move(places: dict[int, str], puppet: int, act: Act, acts: dict[int, Act]) -> None:
    """Where the puppet is after the beat. Whoever opens a scene alone stands in the middle, two at left and right."""
    if act.verb == "leave":
        places.pop(puppet, None)
    elif act.verb == "enter":
        places[puppet] = act.side
    elif act.verb == "walk":
        places[puppet] = "middle" if places.get(puppet, "middle") != "middle" else act.side
    elif not places.get(puppet):
        places[puppet] = "middle" if len(acts) == 1 else SIDES[sorted(acts).index(puppet)]
