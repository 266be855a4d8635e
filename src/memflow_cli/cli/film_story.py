"""film.yaml, the storyboard that lies beside a film: whether it is this film's, and what it is to say with a take in it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from memflow_cli.cli.talk import note

if TYPE_CHECKING:
    from memflow_cli.film.excerpt import RecordedFilm
    from memflow_cli.film.takes import Take
    from memflow_cli.story.storyboard import Storyboard

_NOT_ALL = "# memflow: "


def storyboard_after(film: "RecordedFilm", segment: int, take: "Take", kept: str | None) -> str | None:
    """What film.yaml is to say with a take in the film; None if what lies there is not this film's storyboard.

    `kept`: names the segments that stay although they were made after another take. The file says of these that it makes
    them anew.
    """
    from memflow_cli.film.carrying import carry
    from memflow_cli.film.names import record_path
    from memflow_cli.film.takes import with_take
    from memflow_cli.story.editing import names_of_segment, set_segment_field
    from memflow_cli.story.load import load_stories
    from memflow_cli.story.prompts import escape_braces
    from memflow_cli.story.writing import storyboard_to_yaml

    path = film.path.with_suffix(".yaml")
    if not path.exists() and not path.is_symlink():
        whole = load_stories(record_path(film.path), 10.0)[0].storyboard  # its model as a storyboard names it
        told = carry(with_take(whole, segment, take), path).storyboard
        return with_remark(storyboard_to_yaml(told, path.parent.absolute()), kept)
    if not is_story_of(path, film):
        note(
            f"{path.name} is not this film's storyboard and stays as it is; {film.path.stem}.json tells what the film is"
        )
        return None
    mark, text, newline = _read_lines(path)
    text = set_segment_field(text, segment, "seed", take.seed)
    own = film.storyboard.segments[segment]
    if (take.prompt, names := take.of(own).names) != (own.prompt, own.names):
        prompt = escape_braces(take.prompt) if take.written is None else take.written
        text = set_segment_field(text, segment, "prompt", prompt)
        if names_of_segment(text, segment) != names:
            text = set_segment_field(text, segment, "names", list(names))
    return mark + with_remark(text, kept).replace("\n", newline)


def _read_lines(path: Path) -> tuple[str, str, str]:
    """A file's mark of byte order, if it has one; its text with `\\n` for every line end; and the line end that it has."""
    text = path.read_bytes().decode()
    mark, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    is_of_windows = 0 < text.count("\n") == text.count("\r\n")
    return mark, text.replace("\r\n", "\n").replace("\r", "\n"), "\r\n" if is_of_windows else "\n"


def with_remark(text: str, kept: str | None) -> str:
    """A storyboard that says in its first line what of the film it does not make again; `kept` None: it makes all of it."""
    if text.startswith(_NOT_ALL):
        text = text.partition("\n")[2]
    if kept is None:
        return text
    return f"{_NOT_ALL}of the film, {kept} made after another take; this storyboard makes that anew.\n{text}"


def is_story_of(path: Path, film: "RecordedFilm") -> bool:
    """Whether a file is the storyboard that a film was made from, seed included; a part that was kept does not count.

    Its pictures and its sound may lie elsewhere than they did: their content counts.
    """
    from memflow_cli.cli.stories import read_stories
    from memflow_cli.errors import MemflowError
    from memflow_cli.film.attached import is_made_with

    if not path.is_file() or path.is_symlink():
        return False
    try:
        stories = read_stories(path, 10.0, ())
    except MemflowError:
        return False
    if len(stories) != 1:
        return False
    read, told = stories[0].storyboard, in_one_piece(film.storyboard)
    bare = [story.with_files(lambda path: None) for story in (read, told)]
    return read == told or (bare[0] == bare[1] and is_made_with(film.record, read))


def in_one_piece(storyboard: "Storyboard") -> "Storyboard":
    """The story without a word of what its segments were made after."""
    return replace(storyboard, segments=tuple(replace(segment, made_after=None) for segment in storyboard.segments))


def kept_segments(storyboard: "Storyboard") -> str | None:
    """Names the segments that were made after another take of what comes before them; None: there are none."""
    numbers = [number for number, segment in enumerate(storyboard.segments, start=1) if segment.made_after]
    return numbered(numbers[0], numbers[-1]) if numbers else None


def numbered(first: int, last: int) -> str:
    """Segments, from 1, in words: what was done to them follows."""
    return f"segment {first} was" if first == last else f"segments {first} to {last} were"
