"""How a puppet looks, whether a caption says so, and whether a caption may stay as its author wrote it."""

from collections.abc import Mapping, Sequence

from memflow_cli.models.theatre.language.cast import Member, Told
from memflow_cli.models.theatre.language.meaning import TRAVELS, Role
from memflow_cli.models.theatre.language.trained_captions import TrainedCaption
from memflow_cli.models.theatre.language.vocabulary import ACCESSORY_COLOURS

USUAL_COLOURS = {
    "fox": "orange",
    "cat": "white",
    "rabbit": "white",
    "bear": "purple",
    "bird": "blue",
    "robot": "yellow",
}
_NEAREST = {"orange": "red", "green": "blue", "purple": "blue", "pink": "red"}  # of the colours that accessories have


def looks_of(member: Member, told: Told) -> tuple[str | None, tuple[str, str] | None]:
    """Colour and accessory, those that theatre has; what nobody said is chosen, or left to the picture."""
    colour = member.colour or (None if member.is_pictured else USUAL_COLOURS[member.species])
    if member.worn is None:
        return colour, None
    kind, worn = member.worn
    if member.is_pictured and worn is None:
        return colour, None
    worn = worn or ("blue" if colour != "blue" else "red")
    if worn not in ACCESSORY_COLOURS:
        if member.species in told.described:
            told.notes.append(f"theatre has no {worn} {kind}; it takes a {_NEAREST[worn]} one")
        worn = _NEAREST[worn]
    return colour, (kind, worn)


def says_looks(member: Member, told: Told) -> bool:
    """Once, and whenever the prompt does. Of who has a picture only with what is worn: a colour alone would say that
    nothing is.
    """
    if member.is_pictured and (member.worn is None or member.worn[1] is None):
        return False
    return not member.was_seen or member.species in told.described


def leaves_to_pictures(caption: TrainedCaption, prompt: str, cast: Mapping[str, Member]) -> bool:
    """Whether a caption may stay as it is written: of those who have pictures it says how they look, in full, or nothing
    ("the fox waits"); that somebody comes for the first time, or is a fox like any other, is news to training.
    """
    return all(
        bool(colour and worn) or not (colour or worn or verb == "enter" or f"a {species} " in f"{prompt.lower()} ")
        for species, colour, worn, verb, _ in caption.clauses
        if species in cast and cast[species].is_pictured
    )


def is_as_trained(caption: TrainedCaption, roles: Sequence[Role]) -> bool:
    """Whether theatre was trained on captions like this: one comes or goes at a time, all who are there are named, in the order
    in which they were introduced. Of two, one who is not named mostly vanishes.
    """
    named = [species for species, *_ in caption.clauses]
    travelling = sum(verb in TRAVELS for *_, verb, _ in caption.clauses)
    return named == [role.species for role in roles] and travelling < 2
