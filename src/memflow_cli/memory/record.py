"""What memory did for a chunk: what the loop tells, the trace keeps and inspect-memory reads. No torch."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Recalled:
    """One remembered latent frame, or given picture, in the bank. `use`: the share of layers x heads that read it (1.0 without
    SMA).
    """

    frame: int
    score: float
    use: float = 1.0


@dataclass(frozen=True)
class ChunkRecord:
    """What memory did for one chunk. A frame number is a latent frame of the film, or below 0 a given picture; scores have
    no unit.
    """

    chunk: int
    segment: int
    prompt: str
    start_seconds: float
    end_seconds: float
    sink: tuple[int, ...] = ()
    window: tuple[int, ...] = ()  # without the chunk itself
    bank: tuple[Recalled, ...] = ()
    sink_use: tuple[float, ...] = ()  # one share for each frame of `sink`; empty: every head reads all of it
    # latent frame -> score, where it is new or has changed since the segment began
    candidates: dict[int, float] = field(default_factory=dict)
    archived: tuple[int, ...] = ()
    evicted: tuple[int, ...] = ()
    layer_banks: tuple[tuple[int, ...], ...] = ()  # policy `official`: each layer's own bank
    called: tuple[str, ...] = ()  # characters and places whose memory must be in the bank
    recalls_nothing: bool = False  # the storyboard wants an empty bank
    whose: dict[int, tuple[str, ...]] = field(default_factory=dict)  # frame of the bank -> whose memory it is
    remembers: tuple[str, ...] = ()  # whose memory is, from the segment's end on, what is on screen there
    renewed: tuple[str, ...] = ()  # whose memory is what was on screen just before this chunk
    forgotten: tuple[str, ...] = ()  # whose memory ended before this chunk
