"""Stories in plain English: is that seen which they tell? `python -m benchmarks.plain [stories.yaml] [-v]`

Without a file: `benchmarks/plain_stories.yaml`, which nothing was ever trained on or tuned to.
A story's film is made and judged at the end of each prompt: the setting, who is there, and each once, colour, accessory, and
in any chunk but the prompt's first the action. Beside it the same questions to what the reader took the prompt to mean:
what is misunderstood, and what is understood and drawn wrong.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.films import film_frames
from benchmarks.judge import Answers, Judge, load_judge
from benchmarks.true_clips import ACCESSORY_CLASSES, LOOKED_AT, MOVES
from memflow_cli.backbone import Backbone
from memflow_cli.cli.device import choose_dtype
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.models.catalog import find_model
from memflow_cli.models.load import load_model
from memflow_cli.models.theatre.language.stage import read_story
from memflow_cli.models.theatre.language.told_story import load_reader, reader_folder
from memflow_cli.models.theatre.language.vocabulary import COLOURS, SETTINGS, SPECIES
from memflow_cli.story.storyboard import Segment, Storyboard
from training.language.check import Line, expected_roles, read_lines, tell

STORIES = Path(__file__).parent / "plain_stories.yaml"
SECONDS = 3.0
JUDGED_SIZE = (112, 64)


def watch(
    backbone: Backbone, judge: Judge, size: tuple[int, int], lines: list[Line], seed: int
) -> tuple[Answers, np.ndarray]:
    """The story's film as the judge saw it, a clip a chunk, and the segment of each."""
    segments = tuple(Segment(line.prompt, SECONDS, transition="cut" if line.cut else "smooth") for line in lines)
    storyboard = Storyboard(title="plain", segments=segments, seed=seed, memory=MemoryOptions(policy="nam"))
    clips, segment_of = [], []
    for record, frames in film_frames(backbone, storyboard, size):
        small = [np.asarray(Image.fromarray(frame).resize(JUDGED_SIZE, Image.BOX)) for frame in frames[list(LOOKED_AT)]]
        clips.append(np.stack(small))
        segment_of.append(record.segment)
    return judge.answers(np.stack(clips)), np.array(segment_of)


def seen(answers: Answers, rows: np.ndarray, line: Line) -> dict[str, tuple[int, int]]:
    """By question: (right, asked), for the chunks of one prompt."""
    last, expected = rows[-1], expected_roles(line.who)
    present = {species for place, species in enumerate(SPECIES) if answers.present[last, -1, place]}
    counts = Counter(
        {"setting": list(SETTINGS)[answers.setting[last, -1]] == line.setting, "who": present == set(expected)}
    )
    counts["once"] = not (answers.twice[last, -1] & answers.present[last, -1]).any()
    asked = Counter(setting=1, who=1, once=1)
    for species, (colour, worn, act) in expected.items():
        place, here = SPECIES.index(species), species in present
        asked.update(colour=1, accessory=1)
        counts["colour"] += here and COLOURS[answers.colour[last, -1, place]] == colour
        counts["accessory"] += here and ACCESSORY_CLASSES[answers.accessory[last, -1, place]] == worn
        if act:
            asked["action"] += 1
            counts["action"] += any(MOVES[answers.move[row, place]] == act for row in rows[1:])
    return {question: (int(counts[question]), number) for question, number in asked.items()}


def main() -> None:
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    path = Path(names[0]) if names else STORIES
    entry, device = find_model("theatre"), torch.device("cpu")
    folder = reader_folder(entry)
    assert folder is not None, "theatre has a reader"
    backbone, judge = load_model(entry, device, choose_dtype("auto", device)), load_judge()
    totals = {"understood": (Counter(), Counter()), "seen": (Counter(), Counter())}
    for number, (title, lines) in enumerate(read_lines(path)):
        meanings = read_story(load_reader(folder), [line.prompt for line in lines], [line.cut for line in lines])
        answers, segment_of = watch(backbone, judge, (entry.width, entry.height), lines, seed=100 + number)
        for index, (line, meaning) in enumerate(zip(lines, meanings, strict=True)):
            both = {"understood": tell(meaning, line), "seen": seen(answers, np.flatnonzero(segment_of == index), line)}
            for kind, counts in both.items():
                for question, (right, asked) in counts.items():
                    totals[kind][0][question] += right
                    totals[kind][1][question] += asked
            wrong = [
                f"{kind} {q}" for kind, counts in both.items() for q, (right, asked) in counts.items() if right < asked
            ]
            if wrong or "-v" in sys.argv:
                print(
                    f"  {title} {index + 1}: {line.prompt!r} {meaning.in_words()}; wrong: {', '.join(wrong)}",
                    flush=True,
                )
    for kind, (right, asked) in totals.items():
        print(f"{kind}: " + " ".join(f"{q} {100 * right[q] / n:.0f} ({right[q]}/{n})" for q, n in asked.items()))


if __name__ == "__main__":
    main()
