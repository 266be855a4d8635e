"""`memflow cut`: some of a film's segments as a film of their own, not encoded again."""

from pathlib import Path
from typing import Annotated

import typer

from memflow_cli.cli.stories import check_output
from memflow_cli.cli.talk import note, result_path, warn
from memflow_cli.errors import UsageError


def register(app: typer.Typer) -> None:
    app.command("cut")(cut)


def cut(
    film: Annotated[Path, typer.Argument(metavar="FILM", help="A finished film; its film.json lies beside it.")],
    first: Annotated[int, typer.Option("--from", metavar="N", help="The first segment, counted from 1.")] = 1,
    last: Annotated[
        int | None, typer.Option("--to", metavar="N", help="The last one. [the film's last]", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILM", help="The shorter film. [film-2-5.mp4]", show_default=False),
    ] = None,
) -> None:
    """Shorten a film to some of its segments.

    The frames are those of the film, bit for bit: nothing is made and nothing encoded again, and the film itself stays as
    it is. Chapters, subtitles and sound come along. The shorter film has no film.json, for what it shows follows from what
    was cut away: no storyboard makes it alone. What the file says of itself names the film that it comes from.
    """
    from memflow_cli.film.excerpt import check_film, cut_segments, is_as_recorded, read_film
    from memflow_cli.film.exchange import mend
    from memflow_cli.film.names import record_path, run_path, trace_path
    from memflow_cli.film.preflight import check_names
    from memflow_cli.story.texts import command_line

    check_film(film)
    mend(film)
    whole = read_film(film)
    num_segments = len(whole.plan.segments)
    last = num_segments if last is None else last
    if not 1 <= first <= last <= num_segments:
        is_known = 1 <= first <= num_segments and 1 <= last <= num_segments
        what = "the first comes behind the last" if is_known else f"{film} has the segments 1 to {num_segments}"
        raise UsageError(f"--from {first} --to {last}: {what}", f"{command_line('plan', record_path(film))} lists them")
    out = out or film.with_name(f"{film.stem}-{first}-{last}.mp4")
    if not out.exists():  # what is there is told below, whatever it is
        check_output(out)
        check_names(out)
    for path in (out, run_path(out), record_path(out), trace_path(out)):
        if path.exists() or path.is_symlink():
            raise UsageError(f"{path} exists already", "choose another name with -o")
    if not is_as_recorded(whole):
        warn(f"{film} is not the film that its record tells of, byte for byte: it was changed, or is damaged")
    plan = cut_segments(whole, first - 1, last - 1, out)
    num_frames = sum(segment.num_frames for segment in plan.segments)
    note(f"segments {first} to {last} of {film.name}: {num_frames} frames; a shorter film has no record of its own")
    result_path(out)
