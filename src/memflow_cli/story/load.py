"""A file -> Storyboards: told apart by what it holds, read once, checked, every problem reported at once with its place.

Files are untrusted: their size, depth, texts and numbers are bounded, and nothing in them is executed.
"""

import dataclasses
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from memflow_cli.errors import StoryboardError, UsageError
from memflow_cli.memory.options import MemoryOptions
from memflow_cli.story import prompt_files
from memflow_cli.story.check import check_story
from memflow_cli.story.draft import Draft, draft_of_prompts
from memflow_cli.story.formats import longlive, storymem
from memflow_cli.story.json_lines import read_json
from memflow_cli.story.overrides import Override, apply_overrides
from memflow_cli.story.places import Places, dotted
from memflow_cli.story.prompts import complete_prompt, names_in, plain_braces
from memflow_cli.story.record import ModelFiles, is_record, read_record
from memflow_cli.story.scalars import text_of
from memflow_cli.story.schema import SegmentEntry, StoryEntry, SubjectEntry
from memflow_cli.story.source import read_text
from memflow_cli.story.storyboard import Segment, Storyboard, Subject
from memflow_cli.story.yaml_lines import Document, KeyPath, YamlProblem, read_yaml

_TEXTS = {"prompt", "title", "style", "caption", "description"}
_TRACE = re.compile(r'\{"format": ?"memflow-trace"')

_CUT_SHORT = "the text ends before ` #`, where a comment begins; in quotes it would belong to the text"

CheckModel = Callable[[str], str | None]
"""A model's name -> what is wrong with it, or None."""


@dataclass(frozen=True)
class LoadedStory:
    """A storyboard and what its file said besides. `warnings`: sentences that a reader should hear before the film."""

    storyboard: Storyboard
    places: Places
    warnings: tuple[str, ...] = ()
    files: ModelFiles | None = None  # of a film's record


def load_storyboard(path: str | Path, overrides: Sequence[Override] = ()) -> Storyboard:
    """The one film of a file. Raises StoryboardError with every problem found, UsageError if it cannot be read."""
    return load_story(path, overrides).storyboard


def load_story(path: str | Path, overrides: Sequence[Override] = ()) -> LoadedStory:
    """As `load_storyboard`, and where its fields stand."""
    stories = load_stories(Path(path), overrides=overrides)
    if len(stories) > 1:
        raise UsageError(f"{path}: {len(stories)} films, not one")
    return stories[0]


def load_stories(
    path: Path,
    segment_seconds: float = 10.0,
    overrides: Sequence[Override] = (),
    check_model: CheckModel | None = None,
) -> list[LoadedStory]:
    """All films of a storyboard (.yaml, .json), a prompt file (.jsonl, .txt: one film per line), a folder of LongLive's
    captions, or a film's own record.

    `segment_seconds`: where the file says none. `check_model`: asked, where other things are wrong, for one more sentence.
    Raises StoryboardError with every problem found, UsageError if the file cannot be read.
    """
    if os.path.isdir(path):  # which a name that is too long cannot break
        folders = longlive.film_folders(path)
        return [_build(each, longlive.read_folder(each, segment_seconds), overrides, check_model) for each in folders]
    text = read_text(path)
    if _TRACE.match(text):
        raise UsageError(f"{path}: what a film remembered, not a storyboard", "memflow inspect-memory shows it")
    if path.suffix.lower() in prompt_files.PROMPT_FILES:
        return _load_lines(path, text, segment_seconds, overrides, check_model)
    document = _read_document(path, text)
    if is_record(document.value):
        draft, files, made_after = read_record(path, document.value)
        story = _build(path, draft, overrides, check_model, is_own=True)
        segments = zip(story.storyboard.segments, made_after, strict=True)
        told = tuple(dataclasses.replace(segment, made_after=before) for segment, before in segments)
        storyboard = dataclasses.replace(story.storyboard, segments=told)
        return [dataclasses.replace(story, storyboard=storyboard, files=files)]
    return [_build(path, _draft(document, segment_seconds), overrides, check_model)]


def _read_document(path: Path, text: str) -> Document:
    """YAML or JSON. What begins like JSON and is not may still be YAML's own braces, unless the file is called .json."""
    try:
        if path.suffix.lower() == ".json":
            return read_json(text)
        if text.lstrip().startswith("{"):
            try:
                return read_json(text)
            except YamlProblem:
                pass
        return read_yaml(text)
    except YamlProblem as problem:
        raise StoryboardError(str(path), [Places(path).line(problem.line) + problem.message]) from None


def _draft(document: Document, segment_seconds: float) -> Draft:
    content = document.value
    if storymem.is_storymem(content):
        return storymem.read_storymem(content, document.lines)
    if isinstance(content, list) and content and all(isinstance(text_of(each), str) for each in content):
        draft = draft_of_prompts([str(text_of(each)) for each in content], segment_seconds)
    else:
        draft = Draft(content, document.lines, [(problem.line, problem.message) for problem in document.problems])
        draft.commented = frozenset(document.cut_short)
    for place in filter(None, document.cut_short):
        if place[-1] in _TEXTS or (len(place) == 2 and place[0] in ("characters", "places")):
            draft.say(f"{place[-1]}: {_CUT_SHORT}", document.lines.get(place))
        elif isinstance(place[0], int):  # of a list of prompts
            draft.say(f"prompt {place[0] + 1}: {_CUT_SHORT}", document.lines.get(place))
    return draft


def _load_lines(
    path: Path, text: str, segment_seconds: float, overrides: Sequence[Override], check_model: CheckModel | None
) -> list[LoadedStory]:
    stories: list[LoadedStory] = []
    problems: list[str] = []
    for number, draft in prompt_files.read_lines(text, segment_seconds):
        if len(stories) + len(problems) >= prompt_files.MAX_FILMS:
            message = f"more than {prompt_files.MAX_FILMS:,} films; split the file"
            raise StoryboardError(str(path), [f"{path}, line {number}: {message}"])
        if isinstance(draft, str):
            problems.append(f"{path}, line {number}: {draft}")
            continue
        draft.content.setdefault("title", f"{path.stem} {len(stories) + 1}")
        try:
            stories.append(_build(path, draft, overrides, check_model))
        except StoryboardError as error:
            problems.extend(error.problems)
    if problems:
        raise StoryboardError(str(path), problems)
    if not stories:
        raise StoryboardError(str(path), [f"{path}: no prompt in it; one film per line is expected"])
    return stories


def _build(
    path: Path,
    draft: Draft,
    overrides: Sequence[Override],
    check_model: CheckModel | None,
    is_own: bool = False,
) -> LoadedStory:
    """Plain values -> Storyboard: overrides applied, everything checked, texts resolved.

    `is_own`: memflow wrote the file, and its paths may lead anywhere.
    """
    draft.name_plainly()
    content, lines = draft.content, draft.lines
    if content is None:
        raise StoryboardError(str(path), [f"{path}: the storyboard is empty; it needs at least `segments:`"])
    bare = Places(path, lines)
    if not isinstance(content, dict):
        raise StoryboardError(str(path), [bare.line(lines.get((), 1)) + "a storyboard is a mapping of keys to values"])
    problems = [(line or 0, bare.line(line) + sentence) for line, sentence in draft.problems]
    origins, without_place = apply_overrides(content, overrides)
    problems += [(0, sentence) for sentence in without_place]
    places = Places(path, lines, origins)
    entry, found = check_story(content)
    if entry is not None and not is_own:
        found += _outside_files(path, entry, origins)
    if (problems or found) and check_model is not None:
        model = text_of(content.get("model"))
        wrong = check_model(_model_path(path, model, origins)) if isinstance(model, str) else None
        found += [(("model",), wrong)] if wrong else []
    for key_path, message in found:
        if key_path in draft.commented and message == "expected a text":
            message += "; what begins with # is a comment, a text that does needs quotes"
        line, begin = places.sorted_place(key_path)
        problems.append((line, begin + message))
    if problems or entry is None:
        raise StoryboardError(str(path), [message for _, message in sorted(problems, key=lambda item: item[0])])
    warnings = tuple(bare.line(line) + sentence for line, sentence in draft.warnings)
    return LoadedStory(_resolve(path, entry, origins), places, (*warnings, *_references_in_vain(entry, places)))


def _references_in_vain(entry: StoryEntry, places: Places) -> Iterator[str]:
    """A sentence about the first title or caption that says {name} of somebody whom the story has."""
    texts: list[tuple[KeyPath, str | None]] = [(("title",), entry.title)]
    for index, segment in enumerate(entry.segments):
        texts += [(("segments", index, "title"), segment.title), (("segments", index, "caption"), segment.caption)]
    subjects = {*entry.characters, *entry.places}
    found = [(place, name) for place, text in texts for name in names_in(text or "") if name in subjects]
    for place, name in found[:1]:
        rest = f" (as in {len(found) - 1} more places)" if len(found) > 1 else ""
        begin = places.sorted_place(place)[1]
        yield f"{begin}{{{name}}} stays as it is written{rest}: only prompts refer to characters and places"


def _outside_files(path: Path, entry: StoryEntry, known: Mapping[KeyPath, str]) -> list[tuple[KeyPath, str]]:
    """Files outside the storyboard's folder, symbolic links followed: it may be a stranger's. Those that the command line
    names are its user's own choice."""
    named: list[tuple[KeyPath, tuple[str, ...]]] = [
        (("segments", 0, "image"), tuple(filter(None, [entry.segments[0].image]))),
        (("sound",), tuple(filter(None, [entry.sound]))),
    ]
    for kind, subjects in (("characters", entry.characters), ("places", entry.places)):
        named += [((kind, name, "picture"), subject.picture) for name, subject in subjects.items()]
    root = os.path.realpath(path.parent)
    found = []
    for key_path, files in named:
        outside = [file for file in files if not Path(os.path.realpath(path.parent / file)).is_relative_to(root)]
        if outside and key_path not in known:
            found.append((key_path, _outside_in_words(path.parent, key_path, outside, len(files) == 1)))
    return found


def _outside_in_words(folder: Path, key_path: KeyPath, outside: Sequence[str], is_alone: bool) -> str:
    """What is wrong with files outside of the folder, and what to do. `is_alone`: the field names one file, not a list."""
    root = os.path.abspath(folder)
    is_link = all(Path(os.path.abspath(folder / file)).is_relative_to(root) for file in outside)
    which = "" if is_alone else f"{', '.join(outside[:3])}{' ...' if len(outside) > 3 else ''} "
    is_one = len(outside) == 1
    if is_link:
        what = "is a link that leads" if is_one else "are links that lead"
        what, advice = f"{what} outside the storyboard's folder", "put the file itself there"
    else:
        what, advice = (
            f"{'is' if is_one else 'are'} outside the storyboard's folder",
            "put the file beside the storyboard",
        )
    if is_alone:  # a list would be replaced by one file
        advice += f", or name it yourself: --set {shlex.quote(f'{dotted(key_path)}=PATH')}"
    return f"{which}{what}; {advice}"


def _resolve(path: Path, entry: StoryEntry, origins: Mapping[KeyPath, str]) -> Storyboard:
    """The values of a checked entry. Paths count from the file that says them, or from where the command line does."""

    def absolute(name: str, *key_path: str | int) -> str:
        folder = Path() if key_path in origins else path.parent
        return str((folder / name).absolute())

    def subjects(kind: str, entries: Mapping[str, SubjectEntry]) -> dict[str, Subject]:
        return {
            name: Subject(
                plain_braces(each.description),
                tuple(absolute(picture, kind, name, "picture") for picture in each.picture),
            )
            for name, each in entries.items()
        }

    characters, places = subjects("characters", entry.characters), subjects("places", entry.places)
    descriptions = {name: subject.description for name, subject in {**characters, **places}.items()}
    style = plain_braces(entry.style)
    image = entry.segments[0].image
    first_image = None if image is None else absolute(image, "segments", 0, "image")
    width, height = entry.size or (None, None)
    memory = MemoryOptions(
        policy=entry.memory.policy,
        bank=entry.memory.bank,
        activate=entry.memory.activate,
        archive_bytes=entry.memory.archive,
        record_interval=entry.memory.record_interval,
        score=entry.memory.score,
        positions=entry.memory.positions,
        kv=entry.memory.kv,
        mirror_pictures=entry.memory.mirror_pictures,
        picture_guidance=entry.memory.picture_guidance,
    )
    return Storyboard(
        title=entry.title or path.stem,
        segments=tuple(
            _segment(each, descriptions, style, first_image if index == 0 else None)
            for index, each in enumerate(entry.segments)
        ),
        model=_model_path(path, entry.model, origins),
        width=width,
        height=height,
        fps=entry.fps,
        seed=entry.seed,
        style=style,
        memory=memory,
        characters=characters,
        places=places,
        captions=entry.captions,
        sound=None if entry.sound is None else absolute(entry.sound, "sound"),
    )


def _segment(entry: SegmentEntry, descriptions: Mapping[str, str], style: str, image: str | None) -> Segment:
    return Segment(
        prompt=complete_prompt(entry.prompt, descriptions, style),
        seconds=entry.duration,
        seed=entry.seed,
        transition=entry.transition,
        image=image,
        title=entry.title,
        caption=entry.caption,
        names=entry.all_names,
        remember=entry.remember,
        forget=entry.forget,
        recall=entry.recall,
    )


def _model_path(path: Path, model: str, origins: Mapping[KeyPath, str]) -> str:
    """A model that the file names by a path counts from the file; a name, or what the command line says, stays as it is."""
    is_path = model.startswith(".") or "/" in model or os.sep in model
    if not is_path or model.startswith("~") or ("model",) in origins:
        return model
    return str((path.parent / model).absolute())
