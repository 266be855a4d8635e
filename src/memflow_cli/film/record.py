"""What is written down about a finished film: its record, film.json, and the metadata inside the MP4. No torch."""

import json
from collections.abc import Mapping
from typing import Any

from memflow_cli.film.attached import tracks_sound
from memflow_cli.film.recipe import Recipe
from memflow_cli.film.script import ShootingScript
from memflow_cli.story.plan import FilmPlan
from memflow_cli.story.storyboard import Storyboard
from memflow_cli.version import __version__

MAX_DESCRIPTION = 60_000  # characters of prompts in the film's metadata


def make_record(
    script: ShootingScript, recipe: Recipe, sha256: str, num_bytes: int, timings: Mapping[str, Any]
) -> dict[str, Any]:
    """All that is needed to make the film again, and what it cost. `sha256`, `num_bytes`: of the film's file."""
    plan = script.plan
    return {
        "memflow": __version__,
        "title": plan.title,
        "seed": plan.seed,
        "sha256": sha256,
        "num_bytes": num_bytes,
        "num_frames": plan.num_frames,
        "seconds": round(plan.seconds, 3),
        "recipe": recipe.to_json(),
        "model": dict(script.model),
        "storyboard": script.storyboard.to_json(),
        **({"tracks": tracks} if (tracks := tracks_of(script.storyboard)) else {}),
        "timings": dict(timings),
    }


def tracks_of(storyboard: Storyboard) -> dict[str, Any]:
    """What a film's file has besides its pictures and its title, as far as the storyboard asks for it; {} if it does not."""
    captions = [segment.caption for segment in storyboard.segments]
    titles = [segment.title for segment in storyboard.segments]
    tracks = {
        "captions": storyboard.captions,
        "caption_texts": captions if any(text is not None for text in captions) else None,
        "titles": titles if any(text is not None for text in titles) else None,
        "sound": tracks_sound(storyboard),
    }
    return {key: value for key, value in tracks.items() if value}


def has_captions(storyboard: Storyboard) -> bool:
    return storyboard.captions or any(segment.caption for segment in storyboard.segments)


def film_metadata(plan: FilmPlan, model: str) -> dict[str, str]:
    """Title, prompts with their times, and where the film comes from."""
    lines = (f"{segment.start_frame / plan.fps:.2f} s: {segment.prompt}" for segment in plan.segments)
    about = {"generator": f"memflow-cli {__version__}", "model": model, "seed": plan.seed}
    description = ""
    for line in lines:
        if len(description) + len(line) > MAX_DESCRIPTION:
            break
        description += ("\n" if description else "") + line
    return {"title": plan.title, "description": description, "comment": json.dumps(about)}
