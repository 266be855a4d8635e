"""`memflow retake`: other takes of one segment, side by side; one of them put into the film; and back again."""

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memflow_cli.cli import options
from memflow_cli.cli.film_story import is_story_of, numbered, storyboard_after
from memflow_cli.cli.talk import note, result_path, warn
from memflow_cli.cli.words import check_progress_kind
from memflow_cli.errors import MemflowError, UsageError
from memflow_cli.story.texts import command_line

if TYPE_CHECKING:
    from memflow_cli.film.excerpt import RecordedFilm
    from memflow_cli.film.takes import Take
    from memflow_cli.story.storyboard import Storyboard

MAX_TAKES = 64
_UNFINISHED = "unfinished"  # in a segment's folder: where its takes are made


def register(app: typer.Typer) -> None:
    app.command("retake")(retake)


@dataclass(frozen=True)
class RetakeOptions:
    """As they stand on the command line."""

    takes: Annotated[int, typer.Option("--takes", metavar="N", help="How many takes to make.")] = 4
    prompt: Annotated[str | None, typer.Option("--prompt", help="Another prompt for these takes.")] = None
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The first take's noise; the others count on.")
    ] = None
    pick: Annotated[int | None, typer.Option("--pick", metavar="TAKE", help="Put this take into the film.")] = None
    then: Annotated[
        str | None,
        typer.Option(
            "--then",
            metavar="remake|keep",
            help="With --pick: what comes after. keep: as it is, if it begins with a cut. [remake]",
            show_default=False,
        ),
    ] = None
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the film as it was before the last pick.")] = False
    progress: Annotated[str, typer.Option("--progress", metavar="KIND", help="As generate's.")] = "auto"


@options.with_options
def retake(
    film: Annotated[Path, typer.Argument(metavar="FILM", help="A finished film; its film.json lies beside it.")],
    segment: Annotated[
        int | None, typer.Argument(metavar="[SEGMENT]", help="Which one, counted from 1.", show_default=False)
    ] = None,
    *,
    given: RetakeOptions,
) -> None:
    """Make other takes of one segment, and pick one.

    The takes lie side by side in film.takes/03/: take-1.mp4 and so on, takes.jpg, which shows them all, and takes.html, which
    plays them together. Each begins where the segment before it ends; what comes before is taken from what the film keeps
    (film.mp4.run). --pick puts one into the film and makes again all that comes after it, for memory and window have
    changed; the segments before it stay bit for bit. The old film stays until the new one is whole, and --undo brings it
    back; a second --undo takes that back. The choice is written down as the segment's seed and prompt: in film.json, and in
    film.yaml where that is the film's storyboard, or none is there. Either makes the new film again, frame by frame.

    --then keep leaves what comes after as it is, where that begins with a cut. It was made when memory had seen the old
    take, so no storyboard makes such a film again: film.json says so, and film.yaml makes these segments anew.
    After an interruption the same command goes on.
    """
    from memflow_cli.film.attached import check_as_made
    from memflow_cli.film.excerpt import check_film, read_film
    from memflow_cli.film.exchange import alone, mend

    check_progress_kind(given.progress)
    check_film(film)
    mended = mend(film)
    if given.undo:
        if segment is not None or given.pick is not None or given.then is not None:
            raise UsageError("--undo takes back the last pick, whatever it was", command_line("retake", film, "--undo"))
        if mended == "undo":
            _tell_undone(film)
        else:
            _undo(film)
        return
    told = read_film(film)
    num_segments = len(told.plan.segments)
    if segment is None or not 1 <= segment <= num_segments:
        raise UsageError(f"{film} has the segments 1 to {num_segments}", command_line("retake", film, 1, "--takes", 4))
    _check_wishes(given, film, segment)
    check_as_made(told.record, told.storyboard, *told.plan.size)
    if given.pick is not None:
        is_last = segment == num_segments
        _pick(told, segment - 1, given.pick, given.then == "keep" and not is_last, given.progress)
        return
    _check_takes(told, segment - 1, _wanted(told, segment - 1, given))
    with alone(film):
        wanted = _wanted(_unchanged(told), segment - 1, given)  # another process may have made takes meanwhile
        _check_takes(told, segment - 1, wanted)
        _make_takes(told, segment - 1, wanted, given.progress)


def _check_wishes(given: RetakeOptions, film: Path, segment: int) -> None:
    from memflow_cli.story.schema import MAX_SEED

    if given.then not in (None, "remake", "keep") or (given.then is not None and given.pick is None):
        raise UsageError(
            f"--then {given.then[:20]}: what is to become of what comes after a --pick: remake or keep",
            command_line("retake", film, segment, "--pick", 1, "--then", "keep"),
        )
    if given.pick is not None and (given.prompt is not None or given.seed is not None):
        raise UsageError(
            "--pick puts in a take that is there, with its prompt and its seed", "leave --prompt and --seed out"
        )
    if not 1 <= given.takes <= MAX_TAKES:
        raise UsageError(f"--takes {given.takes}: from 1 to {MAX_TAKES} are made at once")
    if given.seed is not None and not 0 <= given.seed <= MAX_SEED - MAX_TAKES:
        raise UsageError(f"--seed {given.seed}: a whole number from 0 to {MAX_SEED - MAX_TAKES} is expected")


def _wanted(film: "RecordedFilm", segment: int, given: RetakeOptions) -> "list[Take]":
    """The takes to be made. Raises UsageError for a prompt that cannot be one."""
    from memflow_cli.film.takes import new_takes
    from memflow_cli.story.schema import complete_given_prompt, read_prompt

    if given.prompt is None:
        return new_takes(film, segment, given.takes, given.seed, None, None)
    written = read_prompt(given.prompt)
    complete, _ = complete_given_prompt(written, film.storyboard.descriptions, film.storyboard.style)
    return new_takes(film, segment, given.takes, given.seed, written, complete)


def _check_takes(film: "RecordedFilm", segment: int, takes: "list[Take]") -> None:
    from memflow_cli.film.takes import check_takes, take_folder
    from memflow_cli.film.workshop import is_left

    check_takes(film.path, segment, takes, is_left(take_folder(film.path, segment) / _UNFINISHED))


def _unchanged(film: "RecordedFilm") -> "RecordedFilm":
    """The film. Raises UsageError if another process has put another one in its place since it was read."""
    from memflow_cli.film.excerpt import read_film

    if read_film(film.path).record != film.record:
        raise UsageError(f"{film.path} was changed by another command in this moment", "give the command again")
    return film


def _make_takes(film: "RecordedFilm", segment: int, takes: "list[Take]", progress: str) -> None:
    from memflow_cli.film.excerpt import cut_segments, read_film
    from memflow_cli.film.takes import read_takes, story_of, take_file, take_folder, with_take, write_takes
    from memflow_cli.film.workshop import workshop

    folder = take_folder(film.path, segment)
    told = {take.number: story_of(film, with_take(film.storyboard, segment, take, is_last=True)) for take in takes}
    with workshop(folder / _UNFINISHED, [list(told.items()), takes[0].follows]) as work:
        stories = [_write_story(work / "stories" / f"take-{number}.json", story) for number, story in told.items()]
        for take in takes:
            _copy_kept(film, segment, work / f"take-{take.number}.mp4", is_told=take is takes[0])
        _generate(film, stories, f"{work}/", "--keep", "no", "--progress", progress)
        for take in takes:
            made = read_film(work / f"take-{take.number}.mp4")
            cut_segments(made, segment, segment, take_file(film.path, segment, take.number))
        known = [*read_takes(film.path, segment), *takes]
        write_takes(film.path, segment, known)
    drawn = _draw(film, segment, known)  # after they are listed: a damaged one among the others keeps nobody from them
    for path in [*(take_file(film.path, segment, take.number) for take in takes), *drawn]:
        result_path(path)
    note(f"{command_line('retake', film.path, segment + 1, '--pick')} N puts one into the film")


def _draw(film: "RecordedFilm", segment: int, known: "list[Take]") -> list[Path]:
    """The takes of a segment that are still there: on one sheet, and on a page that plays them beside the film's own."""
    from memflow_cli.film.takes import take_file, take_folder
    from memflow_cli.report.takes_page import ShownTake, make_takes_page
    from memflow_cli.report.takes_sheet import draw_takes

    path, planned = film.path, film.plan.segments[segment]
    takes = [take for take in known if _is_playable(take_file(path, segment, take.number))]
    about = {take.number: f"seed {take.seed}  {take.prompt}" for take in takes}
    rows = [(f"take {number}", text, take_file(path, segment, number)) for number, text in about.items()]
    start, end = (frame / film.plan.fps for frame in (planned.start_frame, planned.start_frame + planned.num_frames))
    shown = [ShownTake("in the film", planned.prompt, f"../../{path.name}", None, (start, end))]
    for number, text in about.items():
        command = command_line("retake", path, segment + 1, "--pick", number)
        shown.append(ShownTake(f"take {number}", text, f"take-{number}.mp4", command))
    sheet, page = (take_folder(path, segment) / name for name in ("takes.jpg", "takes.html"))
    draw_takes(rows).save(sheet, quality=88)
    page.write_text(make_takes_page(path.name, segment + 1, shown), encoding="utf-8", errors="replace")
    return [sheet, page]


def _is_playable(path: Path) -> bool:
    from memflow_cli.film.video_reader import probe

    if not path.is_file():
        return False
    try:
        probe(path)
    except MemflowError as error:
        warn(f"{error.message}; it is left out")
        return False
    return True


# a take into the film, and out of it


def _pick(film: "RecordedFilm", segment: int, number: int, is_end_kept: bool, progress: str) -> None:
    from memflow_cli.film.carrying import carried, carry
    from memflow_cli.film.exchange import alone, exchange, forget_picked, picked_folder
    from memflow_cli.film.names import run_path
    from memflow_cli.film.run_on_disk import check_run
    from memflow_cli.film.splicing import check_end_can_be_kept, with_kept_end
    from memflow_cli.film.takes import find_take, story_of, with_take
    from memflow_cli.film.workshop import workshop

    take = find_take(film, segment, number)
    new = with_take(film.storyboard, segment, take)
    if _is_there(film, segment, take, is_end_kept):
        forget_picked(film.path)
        note(f"segment {segment + 1} is take {number} already")
        result_path(film.path)
        return
    kept = numbered(segment + 2, len(film.plan.segments)) if is_end_kept else None
    if is_end_kept:
        check_end_can_be_kept(film, segment + 1)
        new = with_kept_end(new, film, segment + 1)
    storyboard = storyboard_after(film, segment, take, kept)
    with alone(film.path), workshop(picked_folder(film.path), [story_of(film, new), kept]) as work:
        check_run(run_path(_unchanged(film).path), None)  # nobody is to be making it while it is exchanged
        whole = work / film.path.name
        if is_end_kept:
            _copy_with_end(film, segment, take, new, whole, progress)
        else:
            _copy_kept(film, segment, whole)
        keep = ["--keep-run"] if run_path(film.path).is_dir() else []
        story = _write_story(work / "stories" / f"{film.path.stem}.json", story_of(film, new))
        _generate(film, [story], str(whole), *keep, "--progress", progress)
        if storyboard is not None:
            whole.with_suffix(".yaml").write_bytes(storyboard.encode())
        script = film.path.with_suffix(".yaml")
        is_first = storyboard is not None and not script.exists()
        with carried(carry(new, script)) if is_first else contextlib.nullcontext():
            exchange(film.path, "pick", with_storyboard=storyboard is not None)
    where = film.path.with_suffix(".yaml" if storyboard is not None else ".json").name
    undo = command_line("retake", film.path, "--undo")
    note(f"segment {segment + 1} is take {number}; {where} says so; {undo} brings the old film back")
    if kept is not None:
        note(
            f"{kept} kept: memory had seen the segment {segment + 1} that was there before, and what it recalls of that is not "
            "what the film shows now; memflow generate makes all of it anew"
        )
    result_path(film.path)


def _is_there(film: "RecordedFilm", segment: int, take: "Take", is_end_kept: bool) -> bool:
    """Whether the film is the one that picking this take makes."""
    planned, own = film.plan.segments[segment], film.storyboard.segments[segment]
    is_take = replace(own, seed=planned.seed) == take.of(own)
    return is_take and (is_end_kept or not any(each.made_after for each in film.storyboard.segments[segment + 1 :]))


def _copy_with_end(
    film: "RecordedFilm", segment: int, take: "Take", new: "Storyboard", whole: Path, progress: str
) -> None:
    """Gives the film to come its beginning with the take, and the end that the old film has."""
    from memflow_cli.film.splicing import splice
    from memflow_cli.film.takes import story_of, with_take
    from memflow_cli.film.workshop import copy_kept

    beginning = whole.parent / "beginning" / whole.name
    beginning.parent.mkdir(exist_ok=True)
    _copy_kept(film, segment, beginning)
    told = story_of(film, with_take(film.storyboard, segment, take, is_last=True))
    story = _write_story(beginning.with_suffix(".story.json"), told)
    _generate(film, [story], str(beginning), "--keep-run", "--progress", progress)
    copy_kept(beginning, whole, lambda run: splice(run, film, new, segment + 1))


def _undo(film: Path) -> None:
    from memflow_cli.film.excerpt import read_film
    from memflow_cli.film.exchange import alone, before_folder, exchange

    if not (before_folder(film) / film.name).is_file():
        raise UsageError(f"{film}: no take was picked that could be taken back")
    with_storyboard = film.is_file() and is_story_of(film.with_suffix(".yaml"), read_film(film))
    with alone(film):
        exchange(film, "undo", with_storyboard)
    _tell_undone(film)


def _tell_undone(film: Path) -> None:
    note("the film is as it was before; the other one is kept, and another --undo brings it back")
    result_path(film)


# making


def _write_story(path: Path, story: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(story, ensure_ascii=False), encoding="utf-8", errors="surrogateescape")
    return path


def _copy_kept(film: "RecordedFilm", segment: int, target: Path, is_told: bool = True) -> None:
    """Gives a film to come what this one keeps of the segments before this one."""
    from memflow_cli.film.workshop import copy_kept

    if segment and not copy_kept(film.path, target) and is_told:
        note(
            f"{film.path.name} keeps nothing that could be gone on from: what comes before the segment is made anew too"
        )


def _generate(film: "RecordedFilm", stories: Sequence[Path], out: str, *more: str) -> None:
    """Makes films as this one was made: on the same device, in the same precision. Their names are no result."""
    from memflow_cli.cli.app import run

    made = film.record["recipe"]["common"]
    dtypes = {"torch.float32": "fp32", "torch.bfloat16": "bf16", "torch.float16": "fp16"}
    as_made = ["--device", str(made.get("device", "auto")), "--dtype", dtypes.get(str(made.get("dtype")), "auto")]
    if made.get("accelerate", "none") != "none":
        as_made += ["--accelerate", str(made["accelerate"]).replace(" ", "")]
    decoder = (film.record.get("model") or {}).get("preview_decoder")
    if decoder is not None:
        as_made += ["--preview-decoder", str(decoder)]
    with contextlib.redirect_stdout(io.StringIO()):
        code = run(["generate", *map(str, stories), "-o", out, *as_made, *more])
    if code:
        raise typer.Exit(code)
