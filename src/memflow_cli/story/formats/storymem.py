"""StoryMem's JSON: `story_overview`, and `scenes` of `video_prompts`, each with its `cut`. A prompt lasts five seconds."""

from typing import Any

from memflow_cli.story.draft import Draft, segment
from memflow_cli.story.scalars import text_of, value_of
from memflow_cli.story.yaml_lines import KeyPath

_SECONDS = 5.0
_READ = {"video_prompts", "cut", "durations", "scene_num"}


def is_storymem(content: Any) -> bool:
    scenes = content.get("scenes") if isinstance(content, dict) else None
    return isinstance(scenes, list) and any(isinstance(scene, dict) and "video_prompts" in scene for scene in scenes)


def read_storymem(content: dict[str, Any], lines: dict[KeyPath, int]) -> Draft:
    draft = Draft({"segments": []}, {(): 1})
    if isinstance(name := text_of(content.get("story_name")), str) and name.strip():
        draft.content["title"] = name
    for key in content:
        if key not in ("scenes", "story_name"):
            draft.say(f"{key!r} has no meaning here, and is left out", lines.get((key,)))
    told: set[str] = set()
    for number, scene in enumerate(content["scenes"]):
        place: KeyPath = ("scenes", number)
        if not isinstance(scene, dict) or not isinstance(scene.get("video_prompts"), list):
            draft.problems.append((lines.get(place), f"scene {number + 1} has no list of `video_prompts`"))
            continue
        for key in sorted(scene.keys() - _READ - told):
            draft.say(f"{key!r} of a scene has no meaning here, and is left out", lines.get((*place, key)))
            told.add(key)
        _append_scene(draft, scene, place, lines)
    return draft


def _append_scene(draft: Draft, scene: dict[str, Any], place: KeyPath, lines: dict[KeyPath, int]) -> None:
    cuts, durations = scene.get("cut"), scene.get("durations")
    for index, prompt in enumerate(scene["video_prompts"]):
        line = lines.get((*place, "video_prompts", index), lines.get(place))
        given = _at(cuts, index, default=index == 0)
        cut = {"true": True, "false": False}.get(str(value_of(given)).lower())
        if cut is None:
            draft.problems.append(
                (line, f"{str(value_of(given))[:40]!r} is neither True nor False: whether a prompt begins with a cut")
            )
        is_first = not draft.content["segments"]
        seconds = value_of(_at(durations, index, default=_SECONDS))
        text = text_of(prompt)
        if not isinstance(text, str):
            draft.problems.append((line, "a prompt must be a text"))
            continue
        draft.content["segments"].append(segment(text.strip(), seconds, bool(cut) and not is_first))
        if line is not None:
            draft.lines[("segments", len(draft.content["segments"]) - 1)] = line


def _at(values: Any, index: int, default: Any) -> Any:
    """One for each prompt, or one for all of them."""
    if isinstance(values, list):
        return values[index] if index < len(values) and values[index] is not None else default
    return default if values is None or (index > 0 and isinstance(default, bool)) else values
