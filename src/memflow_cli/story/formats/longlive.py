"""LongLive 2's folders: 0.json, 1.json, ... with a `caption` each, and shot_durations.txt, which counts chunks.

Its pictures start anew at every shot. A folder may hold one film, several folders of them, or all of that in `caption/`.
"""

import re
from pathlib import Path
from typing import Any

from memflow_cli.errors import UsageError
from memflow_cli.story.draft import Draft, segment
from memflow_cli.story.json_lines import read_json
from memflow_cli.story.scalars import text_of
from memflow_cli.story.source import read_text
from memflow_cli.story.yaml_lines import YamlProblem

CHUNK_SECONDS = 32 / 24  # eight latent frames of four frames each, at 24 frames a second
_DURATIONS = "shot_durations.txt"
_MAX_FOLDERS = 10_000
_NUMBERED = re.compile(r"[0-9]{1,6}\.json", re.ASCII)


def film_folders(folder: Path) -> list[Path]:
    """The folders that hold one film each. Raises UsageError for a folder that has none."""
    root = folder / "caption" if (folder / "caption").is_dir() else folder
    candidates = [root] if _shots(root) else sorted(path for path in root.iterdir() if path.is_dir())[:_MAX_FOLDERS]
    found = [path for path in candidates if _shots(path)]
    if not found:
        raise UsageError(
            f"{folder}: a folder, not a storyboard", "a folder of prompts holds 0.json, 1.json, ... with a caption each"
        )
    return found


def read_folder(folder: Path, segment_seconds: float) -> Draft:
    """One film. Raises UsageError for a file that cannot be read."""
    draft = Draft({"title": folder.resolve().name, "segments": []})
    shots = _shots(folder)
    chunks = _durations(folder / _DURATIONS, draft)
    if chunks is not None and len(chunks) != len(shots):
        draft.say(f"{_DURATIONS} counts {len(chunks)} shots, the folder has {len(shots)}; the fewer are made")
        shots = shots[: len(chunks)]
    told: set[str] = set()
    for number, path in enumerate(shots):
        content = _caption(path, draft)
        for key in sorted(content.keys() - {"caption"} - told):
            draft.say(f"{key[:40]!r} in {path.name} has no meaning here, and is left out")
            told.add(key)
        caption = text_of(content.get("caption"))
        if not isinstance(caption, str):
            draft.problems.append((None, f'{path.name}: {{"caption": "..."}} is expected'))
            continue
        seconds = segment_seconds if chunks is None else round(chunks[number] * CHUNK_SECONDS, 6)
        entry = segment(caption.strip(), seconds, cut=True)
        if number == 0:
            entry.pop("transition")
        draft.content["segments"].append(entry)
    for path in sorted(folder.iterdir()):
        if path.name != _DURATIONS and not _NUMBERED.fullmatch(path.name):
            draft.say(f"{path.name} has no meaning here, and is left out")
    return draft


def _shots(folder: Path) -> list[Path]:
    try:
        names = [path for path in folder.iterdir() if _NUMBERED.fullmatch(path.name)]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror}") from None
    return sorted(names, key=lambda path: int(path.stem))


def _durations(path: Path, draft: Draft) -> list[int] | None:
    if not path.exists():
        return None
    words = re.split(r"[\s,;]+", read_text(path).strip())
    if not all(len(word) < 6 and word.isascii() and word.isdecimal() and int(word) > 0 for word in words):
        draft.problems.append((None, f"{_DURATIONS}: whole numbers of chunks are expected, such as 2 2 4"))
        return None
    return [int(word) for word in words]


def _caption(path: Path, draft: Draft) -> dict[str, Any]:
    try:
        content = read_json(read_text(path)).value
    except YamlProblem as problem:
        draft.problems.append((None, f"{path.name}, line {problem.line}: {problem.message}"))
        return {}
    return content if isinstance(content, dict) else {}
