"""`memflow extend`: a finished film goes on, from what it keeps beside it, with all that it remembers."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from memflow_cli.cli.stories import check_output
from memflow_cli.cli.talk import note
from memflow_cli.cli.words import check_progress_kind
from memflow_cli.errors import ModelError, UsageError

if TYPE_CHECKING:
    from memflow_cli.story.storyboard import Segment, Storyboard


_ANOTHER_NAME = "say the same as the film does, or choose another name"
_REFUSED = (UsageError.exit_code, ModelError.exit_code)


def register(app: typer.Typer) -> None:
    app.command("extend")(extend)


def extend(
    film: Annotated[Path, typer.Argument(metavar="FILM", help="A finished film; its film.json lies beside it.")],
    more: Annotated[
        Path | None,
        typer.Argument(metavar="[STORYBOARD]", help="A storyboard whose segments follow.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILM", help="The longer film.")] = ...,  # type: ignore[assignment]
    prompt: Annotated[list[str] | None, typer.Option("--prompt", help="A segment that follows; several work.")] = None,
    duration: Annotated[str, typer.Option("--duration", metavar="TIME", help="How long each --prompt lasts.")] = "4s",
    cut: Annotated[bool, typer.Option("--cut", help="Begin with a cut instead of going on smoothly.")] = False,
    progress: Annotated[str, typer.Option("--progress", metavar="KIND", help="As generate's.")] = "auto",
) -> None:
    """Go on with a finished film.

    The longer film begins with the very frames of the first, and goes on from its latents with its whole memory: it equals
    the film that its storyboard makes in one go, frame by frame. That storyboard is written beside it (longer.yaml). What the
    first film keeps (film.mp4.run) is used; where it was freed, everything is made anew. After an interruption the same
    command goes on.
    """
    from memflow_cli.film.carrying import carried, carry
    from memflow_cli.film.excerpt import check_film
    from memflow_cli.film.exchange import mend
    from memflow_cli.film.preflight import check_names
    from memflow_cli.film.workshop import check_copy

    check_progress_kind(progress)
    check_film(film)
    if out.resolve() == film.resolve():
        raise UsageError(f"-o {out}: the longer film is another file")
    mend(film)
    check_output(out)
    check_names(out)
    check_copy(out)
    longer = _longer(_recorded(film), more, prompt or [], duration, cut)
    with _refused_leaves_nothing(out), carried(carry(longer, out.with_suffix(".yaml"))) as here:
        code = _make(film, here, out, progress)
        if code in _REFUSED:
            raise typer.Exit(code)
    raise typer.Exit(code)


def _make(film: Path, longer: "Storyboard", out: Path, progress: str) -> int:
    from memflow_cli.film.workshop import copy_kept

    script = out.with_suffix(".yaml")
    _write_script(script, longer, out)
    is_kept = copy_kept(film, out)
    if not is_kept:
        note(f"{film.name} keeps nothing that could be gone on from: all of it is made anew")
    keep = ["--keep-run"] if is_kept else []
    return _generate(film, longer, script, out, [*keep, "--progress", progress])


@contextlib.contextmanager
def _refused_leaves_nothing(out: Path) -> Iterator[None]:
    """What was written for a film that then could not be begun is gone; what was there before stays."""
    from memflow_cli.film.names import run_path

    script, run = out.with_suffix(".yaml"), run_path(out)
    had_script, had_run = os.path.lexists(script), os.path.lexists(run)
    try:
        yield
    except BaseException:
        if not had_script:
            script.unlink(missing_ok=True)
        if not had_run:
            shutil.rmtree(run, ignore_errors=True)
        raise


def _write_script(script: Path, longer: "Storyboard", out: Path) -> None:
    """The storyboard of the longer film. One that is there already, and says the same, is that of an earlier life of this
    command; whatever else is there is another film's, and raises UsageError."""
    from memflow_cli.cli.film_story import kept_segments, with_remark
    from memflow_cli.film.durable import write_through
    from memflow_cli.film.names import run_path
    from memflow_cli.story.writing import storyboard_to_yaml

    text = with_remark(storyboard_to_yaml(longer, script.parent), kept_segments(longer)).encode("utf-8", "replace")
    if script.is_file() and script.stat().st_size == len(text) and script.read_bytes() == text:
        return
    for path in (out, run_path(out), script):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already", "choose another name with -o")
    write_through(script, text)


def _generate(film: Path, longer: "Storyboard", script: Path, out: Path, options: list[str]) -> int:
    """Makes the longer film. One that has a kept end is told by its record, for no storyboard has words for that."""
    from memflow_cli.cli.app import run
    from memflow_cli.cli.film_story import kept_segments
    from memflow_cli.film.excerpt import read_film
    from memflow_cli.film.takes import story_of

    with tempfile.TemporaryDirectory() as folder:
        if (kept := kept_segments(longer)) is not None:
            note(f"{kept} made after another take, and kept; {script.name} would make that anew")
            script = Path(folder, f"{out.stem}.json")
            script.write_text(json.dumps(story_of(read_film(film), longer)), encoding="utf-8")
        return run(["generate", str(script), "-o", str(out), *options])


def _recorded(film: Path) -> "Storyboard":
    """The storyboard in a film's record. Raises UsageError if there is none, or its pictures are not what they were."""
    from memflow_cli.film.attached import check_as_made
    from memflow_cli.film.excerpt import read_film
    from memflow_cli.film.names import record_path
    from memflow_cli.story.load import load_stories

    told = read_film(film)  # any other JSON would be read as a storyboard, and go on with another story
    check_as_made(told.record, told.storyboard, *told.plan.size)
    return load_stories(record_path(film), 10.0)[0].storyboard


def _longer(told: "Storyboard", more: Path | None, prompts: list[str], duration: str, cut: bool) -> "Storyboard":
    """The film's story with what follows. Its characters and places stay what they are."""
    if (more is None) == (not prompts):
        raise UsageError(
            "what follows is a storyboard or one --prompt or more", "memflow extend film.mp4 more.yaml -o longer.mp4"
        )
    if more is None:
        following = _prompted(told, prompts, duration)
    else:
        told, following = _with_those_of(more, told)
    if cut:
        following = (replace(following[0], transition="cut"), *following[1:])
    return replace(told, segments=(*told.segments, *following))


def _with_those_of(more: Path, told: "Storyboard") -> "tuple[Storyboard, tuple[Segment, ...]]":
    """The story with the characters and places of what follows as well, and the segments of that."""
    from memflow_cli.story.load import load_storyboard

    story = load_storyboard(more)
    _check_same(more, told, story)
    new = {name: subject for name, subject in story.subjects.items() if name not in told.subjects}
    if pictured := [name for name, subject in new.items() if subject.pictures]:
        raise UsageError(
            f"{more}: {pictured[0]} has a picture, and pictures are given before a film begins",
            "leave the picture out, or make the whole film anew",
        )
    characters = {name: subject for name, subject in story.characters.items() if name in new}
    places = {name: subject for name, subject in story.places.items() if name in new}
    told = replace(told, characters={**told.characters, **characters}, places={**told.places, **places})
    first, *rest = story.segments
    return told, (replace(first, image=None), *rest)


def _check_same(more: Path, told: "Storyboard", story: "Storyboard") -> None:
    """Raises UsageError for a name that means somebody else in the film than in what follows: one look of theirs would be in
    the prompts, another one in memory."""
    from memflow_cli.film.attached import picture_contents

    for kind, ours, theirs in (
        ("character", told.characters, story.characters),
        ("place", told.places, story.places),
    ):
        for name, subject in theirs.items():
            if name not in ours and name in told.subjects:
                raise UsageError(f"{more}: {name} is a {kind} here, and none in the film", _ANOTHER_NAME)
            if name not in ours:
                continue
            if subject.description != ours[name].description:
                what = f"is {subject.description[:80]!r} here, and {ours[name].description[:80]!r} in the film"
                raise UsageError(f"{more}: {name} {what}", _ANOTHER_NAME)
            shown, known = (picture_contents(each.pictures) for each in (subject, ours[name]))
            if shown and shown != known:
                what = "other pictures here than in the film" if known else "a picture here, and none in the film"
                raise UsageError(
                    f"{more}: {name} has {what}, and pictures are given before a film begins",
                    "leave the picture out, or make the whole film anew",
                )


def _prompted(told: "Storyboard", prompts: list[str], duration: str) -> "tuple[Segment, ...]":
    """A segment for each prompt, in the film's style. They may refer to its characters and places."""
    from memflow_cli.story.quantities import parse_segment_seconds
    from memflow_cli.story.schema import complete_given_prompt, read_prompt
    from memflow_cli.story.storyboard import Segment

    try:
        seconds = parse_segment_seconds(duration)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from None
    segments = []
    for text in prompts:
        prompt, names = complete_given_prompt(read_prompt(text), told.descriptions, told.style)
        segments.append(Segment(prompt, seconds, names=names))
    return tuple(segments)
