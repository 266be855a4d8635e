"""The film's file: its parts joined, with the tracks that its storyboard asks for. No torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from memflow_cli.film.names import record_path
from memflow_cli.film.passages import Passage, chapters, subtitles
from memflow_cli.film.record import film_metadata
from memflow_cli.film.sound import check_sound
from memflow_cli.film.stitching import stitch, write_srt
from memflow_cli.story.plan import FilmPlan
from memflow_cli.story.storyboard import Storyboard


def check_tracks(storyboard: Storyboard) -> None:
    """Raises UsageError for a sound that cannot be read: to be asked before anything is rendered."""
    if storyboard.sound is not None:
        check_sound(Path(storyboard.sound))


def join_film(parts: Sequence[Path], whole: Path, plan: FilmPlan, storyboard: Storyboard) -> None:
    """Parts -> `whole`: a chapter per segment, and subtitles and sound where the storyboard has them."""
    titles = [segment.title for segment in storyboard.segments]
    texts = captions(plan, storyboard)
    sound = None if storyboard.sound is None else Path(storyboard.sound)
    metadata = film_metadata(plan, storyboard.model)
    stitch(parts, whole, plan.fps, plan.num_frames, metadata, chapters(plan, titles), texts or None, sound)


def captions(plan: FilmPlan, storyboard: Storyboard) -> list[Passage]:
    """The subtitles: each segment's caption; with `captions: true` its prompt, where it has none."""
    return subtitles(
        plan,
        [
            segment.caption if segment.caption is not None else planned.prompt if storyboard.captions else None
            for segment, planned in zip(storyboard.segments, plan.segments)
        ],
    )


def place_subtitles(
    film: Path, plan: FilmPlan, storyboard: Storyboard, record_before: Mapping[str, Any] | None
) -> None:
    """Writes film.srt beside the film. A file of that name that no film of ours brought along stays as it is.

    `record_before`: the record of the film that was there until now.
    """
    texts, path = captions(plan, storyboard), srt_path(film)
    if texts and (not path.exists() or _had_captions(record_before)) and not path.is_symlink():
        write_srt(path, texts, plan.fps)


def srt_path(film: Path) -> Path:
    return record_path(film).with_suffix(".srt")


def _had_captions(record: Mapping[str, Any] | None) -> bool:
    story = (record or {}).get("storyboard")
    if not isinstance(story, dict):
        return False
    segments = story.get("segments")
    each = segments if isinstance(segments, list) else []
    return bool(story.get("captions")) or any(isinstance(segment, dict) and segment.get("caption") for segment in each)
