"""The memory options of a film, and the one list of policies and scores. No torch."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

DEFAULT_ARCHIVE_BYTES = 8 << 30
Policy = Literal["nam", "official", "sink", "window", "ema-sink", "shot-sink", "rebuilt"]
"""`nam`: ours. The others are what published systems do: MemFlow, LongLive, Self-Forcing and Causal Forcing, Reward Forcing,
LongLive 2.0, Krea Realtime.
"""
AskedPolicy = Literal[Policy, "published"]
"""What a storyboard may say: besides them `published`, whatever the model's authors publish."""
PUBLISHED = "published"
REBUILT = "rebuilt"
POLICIES: tuple[str, ...] = get_args(Policy)
RECALLING = ("nam", "official")  # memory policies that recall frames
Score = Literal["published", "attention", "cross-attention", "combined", "prompt"]
Kv = Literal["full", "int8"]
"""How keys and values are kept, in the cache and in the archive: in the model's precision, or in eight bits."""
KV_KINDS: tuple[str, ...] = get_args(Kv)


@dataclass(frozen=True)
class MemoryOptions:
    """How a film remembers. None: what the model or the policy does by default."""

    policy: str | None = None
    bank: int = 3  # prototypes recalled for a chunk
    activate: int | None = None  # frames of sink and bank that a head reads; None: all of them
    archive_bytes: int = DEFAULT_ARCHIVE_BYTES
    record_interval: int | None = None  # chunks from one prototype to the next; None: the policy's own
    score: str | None = None
    positions: str | None = None
    kv: Kv = "full"
    mirror_pictures: bool | None = None  # a character's picture is given mirrored as well; None also: none is given
    picture_guidance: float | None = None  # how far a chunk is led towards given pictures; None also: none is given

    def to_json(self) -> dict[str, Any]:
        """Its values for a film's recipe; those that came later only where they make a difference, so that films begun without
        them go on.
        """
        usual = {
            "kv": self.kv == "full",
            "mirror_pictures": not self.mirror_pictures,
            "picture_guidance": not self.picture_guidance,
        }
        return {name: value for name, value in asdict(self).items() if not usual.get(name)}

    @property
    def num_recalled(self) -> int:
        """Latent frames recalled for a chunk: the bank of a policy that has one."""
        return self.bank if self.policy in RECALLING else 0

    @property
    def knows_names(self) -> bool:
        """Whether whom a segment calls, remembers or forgets makes any difference."""
        return self.policy == "nam" and self.bank > 0

    @property
    def num_chosen(self) -> int:
        """Latent frames that each head chooses for a chunk; 0: it reads all of them, or chooses in every pass (`official`)."""
        return self.activate or 0 if self.policy == "nam" else 0
