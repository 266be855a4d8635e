"""What a film's trace says of a picture of a character or place that memory was given. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

from memflow_cli.errors import UsageError

MIRRORED = ", mirrored"  # after the file's name of a picture that memory was given the other way round
MAX_GIVEN = 10_000  # pictures of a film


@dataclass(frozen=True)
class GivenPicture:
    """A picture of a character or place that the film was given: memory's latent frame `frame`, below 0.

    `kind`: "character" or "place". `file`: its name, and whether it is mirrored. `jpeg`: a small picture of it, in base64.
    """

    frame: int
    name: str
    kind: str
    file: str
    jpeg: str


def check_numbers(given: Sequence[GivenPicture], where: str) -> None:
    """Raises UsageError for pictures that are not the frames -1, -2 and so on, or too many."""
    if [item.frame for item in given] != [-number for number in range(1, len(given) + 1)]:
        raise UsageError(f"{where}: the given pictures are not numbered -1, -2 and so on")
    if len(given) > MAX_GIVEN:
        raise UsageError(f"{where}: more than {MAX_GIVEN:,} given pictures")
