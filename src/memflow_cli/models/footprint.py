"""What a model needs of a card's memory, and what gives way when the card is smaller.

Estimates, from sizes alone: no torch, nothing is loaded. What can give way, in this order: the text encoder (it computes
on the host), the decoder (in tiles, its state on the host), the transformer's layers (streamed to the card as they are
needed). The key-value cache cannot: a smaller picture or bank makes it smaller.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path

from memflow_cli.errors import ModelError, OutOfMemoryError
from memflow_cli.geometry import Geometry
from memflow_cli.models.entry import ModelEntry
from memflow_cli.models.family import family_of
from memflow_cli.models.weights.folders import weight_files

GIB = 1 << 30
RESERVE = GIB // 2  # what CUDA itself and the allocator's gaps take
IN_FLIGHT = 2  # blocks on the card while layers are streamed: one in use, one arriving
MAX_HEADER = 100_000_000  # bytes; what safetensors itself allows
TILE = 256  # pixels; the side of a decoder's tile


class TooSmall(OutOfMemoryError):  # noqa: N818 - reads better at the raise
    """`needed`: bytes that would do."""

    def __init__(self, needed: int, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.needed = needed


@dataclass(frozen=True)
class CardUse:
    """Bytes on the card: at most `text_encoder` + `transformer` while prompts are encoded, then all the others."""

    transformer: int
    cache: int
    work: int
    decoder: int
    text_encoder: int

    @property
    def film(self) -> int:
        return self.transformer + self.cache + self.work + self.decoder

    @property
    def prompts(self) -> int:
        return self.transformer + self.text_encoder + self.work


@dataclass(frozen=True)
class Placement:
    """What stays on the card. `resident_blocks`: of the transformer's blocks, None for all."""

    use: CardUse
    resident_blocks: int | None = None
    tile_decoder: bool = False
    text_encoder_on_card: bool = True

    @property
    def num_bytes(self) -> int:
        return max(self.use.film, self.use.prompts if self.text_encoder_on_card else 0) + RESERVE


def card_use(
    entry: ModelEntry,
    width: int,
    height: int,
    bank: int = 3,
    itemsize: int = 2,
    activate: int = 0,
    kv: str = "full",
) -> CardUse:
    """With everything on the card; `bank`: recalled latent frames, `itemsize`: bytes a number.

    `activate`: frames of sink and bank that each head reads; 0: all, in place. What heads chose is kept for a chunk.
    `kv`: as in `MemoryOptions`; of a cache in eight bits only the heads' choice is kept, not what they chose.
    """
    geometry = entry.geometry
    tokens = geometry.tokens_per_frame(width, height)
    dim = geometry.num_heads * geometry.head_dim
    in_view = geometry.sink + geometry.window + bank
    keys = geometry.kv_bytes_per_frame(width, height, itemsize, kv) // 2  # of one latent frame, or its values
    is_chosen = 0 < activate < geometry.sink + bank and kv != "int8"
    chosen = 2 * (geometry.window + activate) * keys if is_chosen else 0
    queries = geometry.query_bytes_per_frame(width, height, itemsize) if bank else 0
    # The widest moment of a block: hidden features of the feed-forward (about 6 dim) and the keys in view of one layer.
    features = geometry.chunk * tokens * dim * itemsize * 16
    gathered = 2 * in_view * tokens * dim * itemsize
    return CardUse(
        transformer=_transformer_bytes(entry, itemsize),
        cache=in_view * (3 * keys + queries) + chosen,  # keys before and after rotation, values; what scores compare
        work=features + gathered,
        decoder=family_of(entry).decoder_bytes(entry, width, height, itemsize),
        text_encoder=_component_bytes(entry, "text_encoder") // 2,  # fp32 on disk, 16 bits on the card
    )


def place(
    entry: ModelEntry,
    width: int,
    height: int,
    bank: int,
    budget: int,
    itemsize: int = 2,
    activate: int = 0,
    kv: str = "full",
) -> Placement:
    """The placement that fits into `budget` bytes and moves least; for the others see `card_use`.

    Raises OutOfMemoryError if none does.
    """
    everything = card_use(entry, width, height, bank, itemsize, activate, kv)
    tiled = min(everything.decoder, family_of(entry).decoder_bytes(entry, TILE, TILE, itemsize))
    for encoder_stays, decoder in ((True, everything.decoder), (False, everything.decoder), (False, tiled)):
        use = CardUse(everything.transformer, everything.cache, everything.work, decoder, everything.text_encoder)
        placement = Placement(use, None, decoder < everything.decoder, encoder_stays)
        if placement.num_bytes <= budget:
            return placement
    per_block = everything.transformer // (entry.geometry.num_layers + 1)  # embeddings and head: about one block
    besides = (1 + IN_FLIGHT) * per_block
    needed = everything.cache + everything.work + tiled + besides + RESERVE
    spare = budget - needed
    if spare < 0:
        raise TooSmall(
            needed,
            f"{entry.name} at {width}x{height} needs {needed / GIB:.1f} GiB of the card even with its layers streamed, "
            f"of which {everything.cache / GIB:.1f} GiB are the key-value cache; it has {budget / GIB:.1f} GiB",
            "a smaller --size or --bank makes the cache smaller"
            + ("" if kv == "int8" else ", and --kv int8 halves it"),
        )
    blocks = min(spare // per_block, entry.geometry.num_layers)
    use = CardUse(per_block * blocks + besides, everything.cache, everything.work, tiled, everything.text_encoder)
    return Placement(use, blocks, True, False)


def least_bytes(
    entry: ModelEntry,
    width: int,
    height: int,
    bank: int = 3,
    itemsize: int = 2,
    activate: int = 0,
    kv: str = "full",
) -> int:
    """What a card must have at least, all layers streamed."""
    try:
        place(entry, width, height, bank, 0, itemsize, activate, kv)
    except TooSmall as error:
        return error.needed
    raise AssertionError("nothing fits into no memory")


def _transformer_bytes(entry: ModelEntry, itemsize: int) -> int:
    """From the checkpoint's size or, for a folder, from how many numbers its files hold."""
    for repository in entry.repositories:
        for file in repository.files:
            if file.path == entry.transformer_file:
                return file.num_bytes * itemsize // entry.stored_itemsize
    if entry.folder is not None and (entry.folder / "transformer").is_dir():
        return itemsize * sum(map(count_weights, _weights(entry.folder / "transformer")))
    return _published_transformer_bytes(entry.geometry, itemsize)


def count_weights(path: Path) -> int:
    """How many numbers a safetensors file holds, from its header; scales of weights in eight bits are not counted.

    0 for a file without such a header: whoever loads it says what is wrong.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, MAX_HEADER)))
        return sum(
            prod(about["shape"])
            for name, about in header.items()
            if name != "__metadata__" and not name.endswith("_scale")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def _published_transformer_bytes(geometry: Geometry, itemsize: int) -> int:
    """Wan's proportions: 8 projections of dim x dim and a feed-forward of 2 * 35 / 6 * dim x dim a block."""
    dim = geometry.num_heads * geometry.head_dim
    return geometry.num_layers * dim * dim * (8 + 12) * itemsize


def _component_bytes(entry: ModelEntry, component: str) -> int:
    if entry.folder is not None and (entry.folder / component).is_dir():
        return sum(path.stat().st_size for path in _weights(entry.folder / component))
    return sum(
        file.num_bytes
        for repository in entry.repositories
        for file in repository.files
        if file.path.startswith(f"{component}/")
    )


def _weights(folder: Path) -> list[Path]:
    """A component's checkpoint; nothing for a folder without one that can be told: whoever loads it says what is wrong."""
    try:
        return [path for path in weight_files(folder) if path.is_file()]
    except (ModelError, OSError):
        return []
