"""The film's file: its parts joined, with the tracks that its storyboard asks for. No torch."""

from collections.abc import Sequence
from pathlib import Path

from memflow_cli.film.passages import Passage, chapters, subtitles
from memflow_cli.film.record import film_metadata
from memflow_cli.film.sound import check_sound
from memflow_cli.film.stitching import srt, stitch
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


def subtitles_file(plan: FilmPlan, storyboard: Storyboard) -> bytes:
    """What film.srt is to hold; nothing if the film has no subtitles."""
    texts = captions(plan, storyboard)
    return srt(texts, plan.fps) if texts else b""
