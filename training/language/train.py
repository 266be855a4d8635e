"""Trains the reader: `python -m training.language.train --work DIR --hours 1`; the same command goes on after an interruption.

Wants what `training.language.vectors` left in DIR. Examples are written while it trains, each once. `--export FOLDER` writes
what the package reads and trains nothing.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from memflow_cli.models.theatre.language.reader import (
    MAX_KNOWN,
    SIDED,
    SPECIES_HEADS,
    VERBS,
    WAYS,
    WHOLE_HEADS,
    context_rows,
    setting_row,
)
from memflow_cli.models.theatre.language.vocabulary import ACCESSORIES, COLOURS, SPECIES
from memflow_cli.models.theatre.language.words import MAX_WORDS, UNKNOWN, Vocabulary
from training.language import phrases
from training.language.network import Network, read, save
from training.language.patterns import all_words
from training.language.story import Example, Writer, grammar_words
from training.precision import fast_products

IGNORED = -100
NEAR = 0.62  # a word whose vector is so near to one that means something here is not noise
WORD_LOST = 0.015  # how often a word becomes unknown
AVERAGE = 0.998


def meaningful_words() -> set[str]:
    """Words of the grammar that stand for something theatre shows."""
    tables = (phrases.SPECIES, phrases.COLOURS, phrases.ACCESSORIES, phrases.PLACES, phrases.SETTINGS, phrases.SIGNS)
    patterns = [pattern for table in tables for pattern in table.values()]
    patterns += [phrases.JUMP, phrases.WAVE, phrases.SPIN, phrases.RETURN, phrases.STAND, phrases.EMPTY, phrases.ABSENT]
    patterns += [
        *phrases.ENTER.values(),
        *phrases.LEAVE.values(),
        *phrases.WALK.values(),
        *phrases.NOT_PAINTED.values(),
    ]
    return {word for pattern in patterns for word in all_words(pattern)}


def noise_words(words: Sequence[str], vectors: np.ndarray, familiar: set[str]) -> list[str]:
    """Words that mean nothing to theatre, and are not near to any that does."""
    rows = vectors.astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 1e-6
    meant = rows[[place for place, word in enumerate(words) if word in meaningful_words() and len(word) > 2]]
    nearest = np.concatenate(
        [(rows[start : start + 2000] @ meant.T).max(axis=1) for start in range(0, len(rows), 2000)]
    )
    return [
        word
        for word, near in zip(words, nearest, strict=True)
        if near < NEAR and word not in familiar and len(word) > 2
    ]


class Encoder:
    """Examples -> what the network takes and should answer."""

    def __init__(self, vocabulary: Vocabulary, rng: np.random.Generator) -> None:
        self.vocabulary = vocabulary
        self.rng = rng

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        read = [self.vocabulary.read(example.text)[:MAX_WORDS] for example in examples]
        num_words = max(1, *(len(words) for words in read))
        num_known = max(1, *(min(MAX_KNOWN, len(example.known)) for example in examples))
        words = np.full((len(examples), num_words), -1)
        naming = np.full((len(examples), num_words), IGNORED)
        known = np.full((len(examples), num_known, 5), -1)
        for place, (example, line) in enumerate(zip(examples, read, strict=True)):
            lost = self.rng.random(len(line)) < WORD_LOST
            words[place, : len(line)] = [UNKNOWN if gone else word.row for word, gone in zip(line, lost, strict=True)]
            who = [example.names.get(word.written) for word in line]
            naming[place, : len(line)] = [0 if name is None else 1 + SPECIES.index(name) for name in who]
            rows = context_rows(example.known)
            known[place, : len(rows)] = rows
        batch = {"words": words, "known": known, "naming": naming}
        batch["setting"] = np.array([setting_row(example.known_setting) for example in examples])
        batch["told"] = np.array([[_told(example, species) for species in SPECIES] for example in examples])
        batch["whole"] = np.array([(setting_row(example.setting), int(example.is_empty)) for example in examples])
        return {name: torch.from_numpy(np.asarray(value, np.int64)) for name, value in batch.items()}


def _told(example: Example, species: str) -> list[int]:
    """A species' answers, in the order of SPECIES_HEADS; ways and colours count only where there is something to ask of."""
    acts = example.acts.get(species)
    if not acts:
        return [0, IGNORED, 0, IGNORED, IGNORED, IGNORED, IGNORED]
    answers = []
    for verb, way in (acts[0], acts[-1]):
        answers += [VERBS.index(verb), WAYS.index(way) if verb in SIDED else IGNORED]
    answers.append(1 + COLOURS.index(example.colours[species]) if species in example.colours else 0)
    kind, colour = example.worn.get(species, (None, None))
    answers.append(1 + ACCESSORIES.index(kind) if kind else 0)
    answers.append((1 + COLOURS.index(colour) if colour else 0) if kind else IGNORED)
    return answers


def loss_and_right(network: Network, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, tuple[int, int]]]:
    """The loss, and by head (right, asked)."""
    told, whole, naming = network(batch["words"], batch["known"], batch["setting"])
    total, counts = told.new_zeros(()), {}
    for scores, answers, sizes in ((told, batch["told"], SPECIES_HEADS), (whole, batch["whole"], WHOLE_HEADS)):
        for column, (name, part) in enumerate(
            zip(sizes, scores.float().split(list(sizes.values()), dim=-1), strict=True)
        ):
            answer, part = answers[..., column].flatten(), part.flatten(0, -2)
            asked = answer != IGNORED
            total = total + F.cross_entropy(part, answer, ignore_index=IGNORED, reduction="sum") / len(batch["words"])
            counts[name] = (int((part.argmax(-1) == answer)[asked].sum()), int(asked.sum()))
    answer = batch["naming"].flatten()
    total = total + F.cross_entropy(naming.float().flatten(0, 1), answer, ignore_index=IGNORED, reduction="sum") / len(
        batch["words"]
    )
    named = answer > 0
    counts["names"] = (int((naming.flatten(0, 1).argmax(-1) == answer)[named].sum()), int(named.sum()))
    return total, counts


def whole_sentences_right(network: Network, batch: dict[str, Tensor]) -> float:
    """The share of sentences of which every answer is right."""
    told, whole, _ = network(batch["words"], batch["known"], batch["setting"])
    right = torch.ones(len(batch["words"]), dtype=torch.bool)
    for scores, answers, sizes in ((told, batch["told"], SPECIES_HEADS), (whole, batch["whole"], WHOLE_HEADS)):
        for column, part in enumerate(scores.split(list(sizes.values()), dim=-1)):
            answer = answers[..., column]
            right &= ((part.argmax(-1) == answer) | (answer == IGNORED)).reshape(len(right), -1).all(dim=1)
    return float(right.float().mean())


def train(work: Path, hours: float, batch_size: int, rate: float, seed: int) -> None:
    words, vectors = json.loads((work / "words.json").read_text()), np.load(work / "vectors.npy")
    places = {word: place for place, word in enumerate(words)}
    familiar = sorted(places[word] for word in grammar_words() if word in places)
    vocabulary = Vocabulary(words, [words[place] for place in familiar])
    noise = noise_words(words, vectors, set(vocabulary.familiar))
    torch.manual_seed(seed)
    network = Network(vectors, familiar)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    step, spent = 0, 0.0
    if (work / "reader.pt").is_file():
        state = torch.load(work / "reader.pt", weights_only=True)
        names = [words[place] for place in familiar]
        network.load_state_dict(_for_words(state["network"], state["familiar"], names))
        average, step, spent = _for_words(state["average"], state["familiar"], names), state["step"], state["seconds"]
        if state["familiar"] == names and state["optimizer"]:
            optimizer.load_state_dict(state["optimizer"])
    print(
        f"{len(words):,} words, {len(familiar):,} familiar, {len(noise):,} of noise; {sum(p.numel() for p in network.parameters()):,} parameters",
        flush=True,
    )
    writer = Writer(f"test {seed}", noise)
    test = Encoder(vocabulary, np.random.default_rng(0))([writer.example() for _ in range(1500)])
    started, saved, tally, losses = time.process_time(), time.monotonic(), {}, []
    budget = 3600 * hours
    while spent + time.process_time() - started < budget:
        elapsed = spent + time.process_time() - started
        writer, encode = Writer(f"{seed} {step}", noise), Encoder(vocabulary, np.random.default_rng([seed, step]))
        examples = sorted((writer.example() for _ in range(4 * batch_size)), key=lambda example: len(example.text))
        network.train()
        order = np.random.default_rng([seed, step, 1]).permutation(4)
        for part in order:
            warm = min(1.0, (step + 1) / 300)
            for group in optimizer.param_groups:
                group["lr"] = rate * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, elapsed / budget))))
            batch = encode(examples[part * batch_size : (part + 1) * batch_size])
            with fast_products(torch.device("cpu")):
                loss, counts = loss_and_right(network, batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            step += 1
            share = min(AVERAGE, step / (step + 50))
            for name, value in network.state_dict().items():
                average[name].lerp_(value, 1 - share)
            losses.append(float(loss.detach()))
            for name, (right, asked) in counts.items():
                before = tally.get(name, (0, 0))
                tally[name] = before[0] + right, before[1] + asked
        if step % 100 == 0:
            told = " ".join(f"{name} {100 * right / max(1, asked):.1f}" for name, (right, asked) in tally.items())
            print(
                f"step {step} {spent + time.process_time() - started:.0f} s loss {np.mean(losses):.3f} {told}",
                flush=True,
            )
            tally, losses = {}, []
        if step % 400 == 0:
            now = {name: value.clone() for name, value in network.state_dict().items()}
            network.load_state_dict(average)
            network.eval()
            with torch.no_grad():
                print(
                    f"step {step}: {100 * whole_sentences_right(network, test):.1f}% of new sentences wholly right",
                    flush=True,
                )
            network.load_state_dict(now)
        if time.monotonic() - saved > 120:
            _save(work, network, optimizer, average, step, spent + time.process_time() - started, vocabulary)
            saved = time.monotonic()
    _save(work, network, optimizer, average, step, spent + time.process_time() - started, vocabulary)


def _for_words(weights: dict[str, Tensor], before: list[str], now: list[str]) -> dict[str, Tensor]:
    """The words' own rows in the order of another list: a grammar that grew goes on with what was learned."""
    rows = dict(zip(before, weights["own"], strict=True))
    return {**weights, "own": torch.stack([rows.get(word, torch.zeros_like(weights["own"][0])) for word in now])}


def _save(
    work: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    step: int,
    seconds: float,
    vocabulary: Vocabulary,
) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
    state["familiar"] = [word for word in vocabulary.words if word in vocabulary.familiar]
    torch.save({**state, "step": step, "seconds": seconds}, work / "reader.part")
    (work / "reader.part").replace(work / "reader.pt")


def begin(work: Path, folder: Path) -> None:
    """A run that goes on from what was exported: its words, their vectors and its weights. Nothing of DIR is overwritten."""
    if (work / "reader.pt").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    weights, vectors, words, familiar = read(folder)
    np.save(work / "vectors.npy", vectors)
    (work / "words.json").write_text(json.dumps(words))
    state = {"network": weights, "average": weights, "familiar": [words[place] for place in familiar]}
    torch.save({**state, "step": 0, "seconds": 0.0, "optimizer": None}, work / "reader.pt")


def export(work: Path, folder: Path) -> None:
    words, vectors = json.loads((work / "words.json").read_text()), np.load(work / "vectors.npy")
    state = torch.load(work / "reader.pt", weights_only=True)
    places = {word: place for place, word in enumerate(words)}
    save(state["average"], vectors, words, [places[word] for word in state["familiar"]], folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("language-work"))
    parser.add_argument(
        "--hours", type=float, default=1.0, help="of computing, in all, those before an interruption included"
    )
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--start", type=Path, metavar="FOLDER", help="an exported reader whose weights a run begins with"
    )
    parser.add_argument("--export", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.export:
        export(options.work, options.export)
    else:
        if options.start:
            begin(options.work, options.start)
        train(options.work, options.hours, options.batch, options.rate, options.seed)


if __name__ == "__main__":
    main()
