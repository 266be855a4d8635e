"""Which film goes to which worker: pure functions over what is waiting and who is there. No torch, no Ray."""

from collections.abc import Sequence
from dataclasses import dataclass

from memflow_cli.studio.farm.order import Machine, ModelKey, Order


@dataclass
class Standing:
    """A film and what has happened to it. `losses`: workers lost since it last got on."""

    order: Order
    losses: int = 0
    before: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()

    def suits(self, machine: Machine | None) -> bool:
        """Whether a worker on such a machine, None: not known yet, may make the film."""
        return self.order.machine is None or machine is None or dict(self.order.machine) == dict(machine)


@dataclass(frozen=True)
class Seat:
    """A worker as the policy sees it. `state`: "starting", "idle" or "busy"."""

    model: ModelKey
    state: str
    machine: Machine | None = None


@dataclass(frozen=True)
class Give:
    """Film number `film` of those waiting goes to worker number `seat`."""

    film: int
    seat: int


@dataclass(frozen=True)
class Hire:
    """A new worker for the model of film number `film`; worker number `instead` goes first, unless that is None."""

    film: int
    instead: int | None = None


def next_move(waiting: Sequence[Standing], seats: Sequence[Seat], most: int) -> Give | Hire | None:
    """What to do now; None: wait until something happens.

    a) The first film that an idle worker has the model and the kind of machine for goes to it.
    b) If there are fewer workers than may be, and fewer are starting than films wait for their model, one more is hired.
    c) An idle worker that no waiting film suits gives way to one for the first film.
    """
    for film, standing in enumerate(waiting):
        for number, seat in enumerate(seats):
            if seat.state == "idle" and seat.model == standing.order.model and standing.suits(seat.machine):
                return Give(film, number)
    for film, standing in enumerate(waiting):
        model = standing.order.model
        starting = sum(seat.state == "starting" and seat.model == model for seat in seats)
        if starting < sum(other.order.model == model for other in waiting[: film + 1]):
            if len(seats) < most:
                return Hire(film)
            idle = next((number for number, seat in enumerate(seats) if seat.state == "idle"), None)
            if idle is not None:
                return Hire(film, idle)
    return None
