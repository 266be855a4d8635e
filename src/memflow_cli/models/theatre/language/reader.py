"""The reader: a sentence of plain English, in the context of its story -> who does what, looks, where, whether anybody is there.

A small transformer over words, in numpy: reading a film's prompts should not wait for torch. Its input, in order: a query
for the whole and one for each species; the setting so far; the puppets that the story knows, most recently mentioned first;
the words. What it says is read off the queries, and off each word whether it is a name. `training/language/` made it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from memflow_cli.errors import ModelError
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SETTINGS, SIDES, SPECIES
from memflow_cli.models.theatre.language.words import FIRST_WORD, MAX_WORDS, Vocabulary, Word

VERBS = ("", "idle", "stand", "walk", "jump", "wave", "spin", "enter", "leave", "absent")
WAYS = ("", *SIDES, "same", "opposite")  # a side; the one where the puppet came in, or the other
SIDED = ("walk", "enter", "leave")
MAX_KNOWN = 6

# What is read off a species' query, and off that of the whole, in the order of the heads' rows.
SPECIES_HEADS = {
    "first verb": len(VERBS),
    "first way": len(WAYS),
    "last verb": len(VERBS),
    "last way": len(WAYS),
    "colour": 1 + len(COLOURS),
    "accessory": 1 + len(ACCESSORIES),
    "accessory colour": 1 + len(COLOURS),
}
WHOLE_HEADS = {"setting": 1 + len(SETTINGS), "is empty": 2}
NUM_QUERIES = 1 + len(SPECIES)

KIN = {
    "fox": "fox foxy vixen",
    "cat": "cat kitty kitten feline tabby tomcat pussycat puss moggy",
    "rabbit": "rabbit bunny hare cottontail jackrabbit leveret",
    "bear": "bear grizzly cub teddy bruin",
    "bird": "bird birdie sparrow parrot robin duck owl songbird canary chick crow raven magpie wren starling finch pigeon",
    "robot": "robot android droid machine bot automaton cyborg mechanical metal tin",
}
"""Words for each species, near which others are."""
NEAR_KIN = 0.6  # cosine


@dataclass(frozen=True)
class Seen:
    """A puppet that the story knows. `worn`: accessory and its colour."""

    species: str
    colour: str | None
    worn: tuple[str, str | None] | None
    is_on_stage: bool


@dataclass(frozen=True)
class Reading:
    """What a sentence says. `acts`: each puppet's (verb, way), the first and the last of what it does."""

    acts: dict[str, tuple[tuple[str, str], ...]]
    colours: dict[str, str]
    worn: dict[str, tuple[str, str | None]]
    setting: str | None
    is_empty: bool
    names: dict[str, str]  # a word that names somebody -> species

    def followed_by(self, then: "Reading") -> "Reading":
        """What two clauses say, one after the other."""
        acts = {who: (*self.acts.get(who, ()), *then.acts.get(who, ())) for who in {**self.acts, **then.acts}}
        return Reading(
            acts,
            self.colours | then.colours,
            self.worn | then.worn,
            then.setting or self.setting,
            self.is_empty and then.is_empty,
            self.names | then.names,
        )


NOTHING_READ = Reading({}, {}, {}, None, False, {})


def context_rows(known: Sequence[Seen]) -> np.ndarray:
    """The puppets as the network takes them: int64 [K, 5] of species, on stage or not, colour, accessory, its colour."""
    rows = []
    for puppet in known[:MAX_KNOWN]:
        kind, worn_colour = puppet.worn or (None, None)
        rows.append(
            (
                SPECIES.index(puppet.species),
                int(puppet.is_on_stage),
                _place(COLOURS, puppet.colour),
                _place(ACCESSORIES, kind),
                _place(COLOURS, worn_colour),
            )
        )
    return np.array(rows, np.int64).reshape(-1, 5)


def setting_row(setting: str | None) -> int:
    return _place(tuple(SETTINGS), setting)


def _place(names: Sequence[str], name: str | None) -> int:
    """Its place in the table, counted from 1; 0 for None."""
    return 0 if name is None else 1 + list(names).index(name)


class Reader:
    """The network and its vocabulary. Raises ModelError if its files are missing or broken."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        try:
            lists = json.loads((folder / "words.json").read_text(encoding="utf-8"))
            weights = load_file(folder / "reader.safetensors")
            words = lists["words"].split()
            familiar = [words[place] for place in lists["familiar"]]
            self.vocabulary = Vocabulary(words, familiar, set(familiar) - set(lists["names"].split()))
            self._weights = {
                name: value.astype(np.float32) for name, value in weights.items() if value.dtype != np.int8
            }
            self._packed = {name: value for name, value in weights.items() if value.dtype == np.int8}
            self._own = {FIRST_WORD + place: row for row, place in enumerate(lists["familiar"])}
            assert len(self._packed["vectors"]) == len(words), "a vector a word"
            self.num_blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
            self.num_heads = int(lists["heads"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ModelError(f"cannot read the reader in {folder}: {reason}") from error

    def read(self, words: Sequence[Word], known: Sequence[Seen], setting: str | None) -> Reading:
        """One sentence, of which the first MAX_WORDS words are read."""
        words = words[:MAX_WORDS]
        x = np.concatenate([self._weights["query"], self._context(known, setting), self._embed(words)])
        x = self._transform(x)
        whole = _split(x[0] @ self._weights["whole.weight"].T + self._weights["whole.bias"], WHOLE_HEADS)
        told = x[1:NUM_QUERIES] @ self._weights["species.weight"].T + self._weights["species.bias"]
        naming = x[len(x) - len(words) :] @ self._weights["naming.weight"].T + self._weights["naming.bias"]
        return make_reading([_split(row, SPECIES_HEADS) for row in told], whole, naming.argmax(axis=1), words)

    def species_named(self, words: Sequence[Word]) -> set[str]:
        """The species for which one of these words, or one near to it in meaning, stands."""
        rows = [word.row - FIRST_WORD for word in words if word.row >= FIRST_WORD]
        if not rows:
            return set()
        vectors = _unit(self._packed["vectors"][rows])
        return {species for species, kin in self._kin.items() if (vectors @ kin.T).max(initial=0) >= NEAR_KIN}

    @cached_property
    def _kin(self) -> dict[str, np.ndarray]:
        """[N, D] of each species: the vectors of its words, of length one."""
        rows = self.vocabulary.rows
        own = {
            species: [rows[word] - FIRST_WORD for word in kin.split() if word in rows] for species, kin in KIN.items()
        }
        return {species: _unit(self._packed["vectors"][places]) for species, places in own.items()}

    def _context(self, known: Sequence[Seen], setting: str | None) -> np.ndarray:
        weights, rows = self._weights, context_rows(known)
        puppets = [
            weights["context.species"][species] + weights["context.on_stage"][on_stage] + weights["context.rank"][rank]
            + weights["context.colour"][colour] + weights["context.accessory"][kind] + weights["context.worn"][worn]
            for rank, (species, on_stage, colour, kind, worn) in enumerate(rows)
        ]  # fmt: skip
        return np.stack([weights["context.setting"][setting_row(setting)], *puppets])

    def _embed(self, words: Sequence[Word]) -> np.ndarray:
        """[W, C]: a word's vector, projected, and what training learned of the word itself; neighbours mixed in; its place."""
        weights, dim = self._weights, self._weights["query"].shape[1]
        x = np.zeros((len(words) + 2, dim), np.float32)
        for place, word in enumerate(words, start=1):
            if word.row < FIRST_WORD:
                x[place] = weights["special"][word.row]
                continue
            vector = self._packed["vectors"][word.row - FIRST_WORD].astype(np.float32) * weights["vector_scale"]
            x[place] = weights["project.weight"] @ vector + weights["project.bias"]
            if word.row in self._own:
                own = self._own[word.row]
                x[place] += self._packed["own"][own].astype(np.float32) * weights["own_scale"][own]
        before, after = weights["mix"][:, 0] * x[:-2], weights["mix"][:, 1] * x[2:]
        return x[1:-1] + before + after + weights["place"][: len(words)]

    def _transform(self, x: np.ndarray) -> np.ndarray:
        """[L, C] -> [L, C]: blocks of attention and a feed-forward layer, each on what is normalised."""
        weights, heads = self._weights, self.num_heads
        for block in range(self.num_blocks):
            part = {
                name.split(".", 2)[2]: value for name, value in weights.items() if name.startswith(f"blocks.{block}.")
            }
            qkv = _normal(x, part["norm1"]) @ part["qkv.weight"].T + part["qkv.bias"]
            query, key, value = qkv.reshape(len(x), 3, heads, -1).transpose(1, 2, 0, 3)
            scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1], dtype=np.float32)
            scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
            mixed = scores / scores.sum(axis=-1, keepdims=True) @ value
            x = x + mixed.transpose(1, 0, 2).reshape(len(x), -1) @ part["out.weight"].T + part["out.bias"]
            hidden = _gelu(_normal(x, part["norm2"]) @ part["up.weight"].T + part["up.bias"])
            x = x + hidden @ part["down.weight"].T + part["down.bias"]
        return _normal(x, weights["norm"])


def _unit(rows: np.ndarray) -> np.ndarray:
    """int8 [W, D] -> fp32, each row of length one."""
    floats = rows.astype(np.float32)
    return floats / (np.linalg.norm(floats, axis=1, keepdims=True) + np.float32(1e-6))


def _normal(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(1e-6)) * weight


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x**3)))


def _split(row: np.ndarray, sizes: dict[str, int]) -> dict[str, int]:
    """The most likely answer of each head, by its name."""
    ends = np.cumsum(list(sizes.values()))
    return {name: int(part.argmax()) for name, part in zip(sizes, np.split(row, ends[:-1]), strict=True)}


def _act(verb: int, way: int) -> tuple[str, str]:
    return VERBS[verb], WAYS[way] if VERBS[verb] in SIDED else ""


def make_reading(
    told: Sequence[dict[str, int]], whole: dict[str, int], naming: Sequence[int], words: Sequence[Word]
) -> Reading:
    """The heads' answers in words. `told`: a species each; `naming`: of each word 0, or whom it names, from 1."""
    acts, colours, worn = {}, {}, {}
    for species, answers in zip(SPECIES, told, strict=True):
        both = [_act(answers["first verb"], answers["first way"]), _act(answers["last verb"], answers["last way"])]
        done = tuple(act for act in dict.fromkeys(both) if act[0])
        if not done:
            continue
        acts[species] = done
        if answers["colour"]:
            colours[species] = COLOURS[answers["colour"] - 1]
        if answers["accessory"]:
            colour = answers["accessory colour"]
            worn[species] = (ACCESSORIES[answers["accessory"] - 1], COLOURS[colour - 1] if colour else None)
    setting = list(SETTINGS)[whole["setting"] - 1] if whole["setting"] else None
    names = {
        word.written: SPECIES[who - 1]
        for word, who in zip(words, naming, strict=True)
        if who and word.written.isalpha()
    }
    return Reading(acts, colours, worn, setting, bool(whole["is empty"]), names)
