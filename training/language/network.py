"""The reader as it is trained: the network of `memflow_cli/models/theatre/language/reader.py` in torch, on batches; and its files."""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from memflow_cli.models.theatre.language.reader import MAX_KNOWN, NUM_QUERIES, SPECIES_HEADS, WHOLE_HEADS
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SETTINGS, SPECIES
from memflow_cli.models.theatre.language.words import FIRST_WORD, MAX_WORDS
from training.language.phrases import NAMES
from training.language.vectors import LARGEST

DIM, HEADS, BLOCKS, HIDDEN = 128, 4, 3, 384
OWN_DROPPED = 0.25  # how often a word is known by its vector alone, as one that training never met
VECTOR_NOISE = 0.1


def _table(rows: int, dim: int, scale: float = 0.5) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, dim) * scale / dim**0.5)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.Parameter(torch.ones(DIM)), nn.Parameter(torch.ones(DIM))
        self.qkv, self.out = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)
        self.up, self.down = nn.Linear(DIM, HIDDEN), nn.Linear(HIDDEN, DIM)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, L, C]; `mask` [B, 1, 1, L]: 0 where something is, else very low."""
        qkv = self.qkv(_normal(x, self.norm1)).unflatten(-1, (3, HEADS, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (DIM // HEADS) ** -0.5 + mask
        mixed = scores.softmax(dim=-1).to(value.dtype) @ value
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        hidden = F.gelu(self.up(_normal(x, self.norm2)), approximate="tanh")
        return x + self.down(hidden)


def _normal(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), None, 1e-6) * weight


class Network(nn.Module):
    """Parameters carry the names of the file that the package reads. `own_rows`: of each vocabulary row 1 + its own row, or 0."""

    def __init__(self, vectors: np.ndarray, familiar: list[int]) -> None:
        super().__init__()
        own_rows = torch.zeros(len(vectors) + FIRST_WORD, dtype=torch.long)
        own_rows[torch.tensor(familiar) + FIRST_WORD] = torch.arange(1, len(familiar) + 1)
        padded = np.concatenate([np.zeros((FIRST_WORD, vectors.shape[1]), np.int8), vectors])
        self.register_buffer("own_rows", own_rows, persistent=False)
        self.register_buffer("vectors", torch.from_numpy(padded).float() * (LARGEST / 127), persistent=False)
        self.project = nn.Linear(vectors.shape[1], DIM)
        self.own = nn.Parameter(torch.zeros(len(familiar), DIM))
        self.special = _table(FIRST_WORD, DIM)
        self.mix = nn.Parameter(torch.zeros(DIM, 2))
        self.place = _table(MAX_WORDS, DIM)
        self.query = _table(NUM_QUERIES, DIM)
        sizes = {"species": len(SPECIES), "on_stage": 2, "rank": MAX_KNOWN, "colour": 1 + len(COLOURS)}
        sizes |= {"accessory": 1 + len(ACCESSORIES), "worn": 1 + len(COLOURS), "setting": 1 + len(SETTINGS)}
        self.context = nn.ParameterDict({name: _table(rows, DIM) for name, rows in sizes.items()})
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.Parameter(torch.ones(DIM))
        self.species = nn.Linear(DIM, sum(SPECIES_HEADS.values()))
        self.whole = nn.Linear(DIM, sum(WHOLE_HEADS.values()))
        self.naming = nn.Linear(DIM, 1 + len(SPECIES))

    def embed(self, words: Tensor) -> Tensor:
        """Rows [B, W], -1 for padding -> [B, W, C]."""
        rows = words.clamp(min=0)
        vectors = self.vectors[rows]
        if self.training:
            vectors = vectors + VECTOR_NOISE * torch.randn_like(vectors)
        own = F.embedding(self.own_rows[rows], torch.cat([self.own.new_zeros(1, DIM), self.own]))
        if self.training:
            own = own * (torch.rand_like(own[..., :1]) >= OWN_DROPPED)
        special = F.embedding(rows.clamp(max=FIRST_WORD - 1), self.special)
        x = torch.where((rows < FIRST_WORD)[..., None], special, self.project(vectors) + own)
        x = x * (words >= 0)[..., None]
        before, after = F.pad(x[:, :-1], (0, 0, 1, 0)), F.pad(x[:, 1:], (0, 0, 0, 1))
        return x + self.mix[:, 0] * before + self.mix[:, 1] * after + self.place[: words.shape[1]]

    def embed_context(self, known: Tensor, setting: Tensor) -> Tensor:
        """Rows [B, K, 5], -1 for padding, and [B] -> [B, 1 + K, C]."""
        context, rows = self.context, known.clamp(min=0)
        names = ("species", "on_stage", "colour", "accessory", "worn")
        puppets = sum(F.embedding(rows[..., column], context[name]) for column, name in enumerate(names))
        return torch.cat(
            [F.embedding(setting, context["setting"])[:, None], puppets + context["rank"][: known.shape[1]]], dim=1
        )

    def forward(self, words: Tensor, known: Tensor, setting: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of the heads: of the species [B, S, ...], of the whole [B, ...], of each word [B, W, 1 + S]."""
        batch, num_words = words.shape
        query = self.query.expand(batch, -1, -1)
        x = torch.cat([query, self.embed_context(known, setting), self.embed(words)], dim=1)
        there = torch.ones(batch, NUM_QUERIES + 1, dtype=torch.bool, device=words.device)
        mask = torch.cat([there, known[..., 0] >= 0, words >= 0], dim=1)[:, None, None]
        mask = (~mask).float() * -1e4
        for block in self.blocks:
            x = block(x, mask)
        x = _normal(x, self.norm)
        return self.species(x[:, 1:NUM_QUERIES]), self.whole(x[:, 0]), self.naming(x[:, x.shape[1] - num_words :])


def save(weights: dict[str, Tensor], vectors: np.ndarray, words: list[str], familiar: list[int], folder: Path) -> None:
    """The two files that the package reads: numbers in fp16, vectors and the words' own rows in int8."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: tensor.float().numpy() for name, tensor in weights.items()}
    own = arrays.pop("own")
    scale = np.maximum(np.abs(own).max(axis=1), 1e-6) / 127
    packed = {name: np.ascontiguousarray(value.astype(np.float16)) for name, value in arrays.items()}
    packed |= {"own": np.round(own / scale[:, None]).astype(np.int8), "own_scale": scale.astype(np.float32)}
    packed |= {"vectors": vectors, "vector_scale": np.array(LARGEST / 127, np.float32)}
    save_file(packed, folder / "reader.safetensors")
    (folder / "reader.safetensors").chmod(0o644)
    names = " ".join(sorted(name.lower() for name in NAMES))
    lists = {"words": " ".join(words), "familiar": familiar, "names": names, "heads": HEADS}
    (folder / "words.json").write_text(json.dumps(lists) + "\n", encoding="utf-8")


def read(folder: Path) -> tuple[dict[str, Tensor], np.ndarray, list[str], list[int]]:
    """What `save` wrote: weights in fp32, vectors, words, and the places of the familiar ones among them."""
    lists = json.loads((folder / "words.json").read_text(encoding="utf-8"))
    packed = load_file(folder / "reader.safetensors")
    vectors, own, scale = packed.pop("vectors"), packed.pop("own"), packed.pop("own_scale")
    del packed["vector_scale"]
    weights = {name: torch.from_numpy(value.astype(np.float32)) for name, value in packed.items()}
    weights["own"] = torch.from_numpy(own * scale[:, None])
    return weights, vectors, lists["words"].split(), lists["familiar"]
