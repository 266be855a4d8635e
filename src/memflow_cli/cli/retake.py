"""`memflow retake`: other takes of one segment, side by side; one of them put into the film; and back again."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from memflow_cli.cli.talk import note, result_path
from memflow_cli.errors import UsageError

if TYPE_CHECKING:
    from memflow_cli.film.excerpt import RecordedFilm
    from memflow_cli.film.takes import Take

MAX_TAKES = 64


def register(app: typer.Typer) -> None:
    app.command("retake")(retake)


def retake(
    film: Annotated[Path, typer.Argument(metavar="FILM", help="A finished film; its film.json lies beside it.")],
    segment: Annotated[
        int | None, typer.Argument(metavar="[SEGMENT]", help="Which one, counted from 1.", show_default=False)
    ] = None,
    takes: Annotated[int, typer.Option("--takes", metavar="N", help="How many takes to make.")] = 4,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Another prompt for these takes.")] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The first take's noise; the others count on.")
    ] = None,
    pick: Annotated[int | None, typer.Option("--pick", metavar="TAKE", help="Put this take into the film.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the film as it was before the last pick.")] = False,
    progress: Annotated[str, typer.Option("--progress", metavar="KIND", help="As generate's.")] = "auto",
) -> None:
    """Make other takes of one segment, and pick one.

    The takes lie side by side in film.takes/03/: take-1.mp4 and so on, and takes.jpg, which shows them all. Each begins
    where the segment before it ends; what comes before is taken from what the film keeps (film.mp4.run). --pick puts one
    into the film and makes again all that comes after it, for memory and window have changed; the segments before it stay
    bit for bit. The old film stays until the new one is whole, and --undo brings it back; a second --undo takes that back.
    The choice is written down as the segment's seed and prompt: in film.json, and in film.yaml where that is the film's
    storyboard, or none is there. Either makes the new film again, frame by frame.
    """
    from memflow_cli.film.excerpt import read_film
    from memflow_cli.film.takes import mend

    mend(film)
    if undo:
        if segment is not None or pick is not None:
            raise UsageError("--undo takes back the last pick, whatever it was", f"memflow retake {film} --undo")
        _undo(film)
        return
    told = read_film(film)
    num_segments = len(told.plan.segments)
    if segment is None or not 1 <= segment <= num_segments:
        raise UsageError(f"{film} has the segments 1 to {num_segments}", f"memflow retake {film} 1 --takes 4")
    if pick is not None:
        if prompt is not None or seed is not None:
            raise UsageError(
                "--pick puts in a take that is there, with its prompt and its seed", "leave --prompt and --seed out"
            )
        _pick(told, segment - 1, pick, progress)
        return
    _check_wishes(takes, seed)
    _make_takes(told, segment - 1, _wanted(told, segment - 1, takes, seed, prompt), progress)


def _check_wishes(takes: int, seed: int | None) -> None:
    from memflow_cli.story.schema import MAX_SEED

    if not 1 <= takes <= MAX_TAKES:
        raise UsageError(f"--takes {takes}: from 1 to {MAX_TAKES} are made at once")
    if seed is not None and not 0 <= seed <= MAX_SEED - MAX_TAKES:
        raise UsageError(f"--seed {seed}: a whole number from 0 to {MAX_SEED - MAX_TAKES} is expected")


def _wanted(film: "RecordedFilm", segment: int, count: int, seed: int | None, prompt: str | None) -> "list[Take]":
    """The takes to be made. Raises UsageError for a prompt that cannot be one."""
    from memflow_cli.film.takes import new_takes
    from memflow_cli.story.prompts import complete_prompt, composed, names_in, one_line
    from memflow_cli.story.schema import MAX_PROMPT_LENGTH

    if prompt is None:
        return new_takes(film, segment, count, seed, None, None)
    written = one_line(composed(prompt))
    described = {name: subject.description for name, subject in film.storyboard.subjects.items()}
    if unknown := [name for name in names_in(written) if name not in described]:
        raise UsageError(f"--prompt: {{{unknown[0][:40]}}} is not a character or place of this film")
    complete = complete_prompt(written, described, film.storyboard.style)
    if not written or len(complete) > MAX_PROMPT_LENGTH:
        raise UsageError("--prompt: is empty" if not written else f"--prompt: at most {MAX_PROMPT_LENGTH:,} characters")
    return new_takes(film, segment, count, seed, written, complete)


def _make_takes(film: "RecordedFilm", segment: int, takes: "list[Take]", progress: str) -> None:
    from memflow_cli.film.excerpt import cut_segments, read_film
    from memflow_cli.film.takes import read_takes, story_of, take_file, take_folder, with_take, write_takes

    folder = take_folder(film.path, segment)
    with _workshop(folder / "unfinished") as work:
        stories = []
        for take in takes:
            story = story_of(film, with_take(film.storyboard, segment, take, is_last=True))
            stories.append(_write_json(work / "stories" / f"take-{take.number}.json", story))
            _copy_kept(film, segment, work / f"take-{take.number}.mp4", is_told=take is takes[0])
        code = _generate(film, stories, f"{work}/", "--keep", "no", "--progress", progress)
        if code:
            raise typer.Exit(code)
        for take in takes:
            made = read_film(work / f"take-{take.number}.mp4")
            cut_segments(made, segment, segment, take_file(film.path, segment, take.number))
    write_takes(film.path, segment, [*read_takes(film.path, segment), *takes])
    for take in takes:
        result_path(take_file(film.path, segment, take.number))
    result_path(_draw_sheet(film.path, segment))
    note(f"memflow retake {film.path} {segment + 1} --pick N puts one into the film")


def _draw_sheet(film: Path, segment: int) -> Path:
    """All takes of a segment that are still there."""
    from memflow_cli.film.takes import read_takes, take_file, take_folder
    from memflow_cli.report.takes_sheet import draw_takes

    rows = [
        (f"take {take.number}", f"seed {take.seed}  {take.prompt}", take_file(film, segment, take.number))
        for take in read_takes(film, segment)
    ]
    sheet = take_folder(film, segment) / "takes.jpg"
    draw_takes([row for row in rows if row[2].is_file()]).save(sheet, quality=88)
    return sheet


def _pick(film: "RecordedFilm", segment: int, number: int, progress: str) -> None:
    from memflow_cli.film.names import run_path
    from memflow_cli.film.takes import exchange, find_take, story_of, take_folder, with_take

    take = find_take(film, segment, number)
    new = with_take(film.storyboard, segment, take)
    storyboard = _storyboard_after(film, segment, take)
    with _workshop(take_folder(film.path, segment) / "picked") as work:
        story = _write_json(work / "stories" / f"{film.path.stem}.json", story_of(film, new))
        _copy_kept(film, segment, work / film.path.name)
        keep = ["--keep-run"] if run_path(film.path).is_dir() else []
        code = _generate(film, [story], str(work / film.path.name), *keep, "--progress", progress)
        if code:
            raise typer.Exit(code)
        if storyboard is not None:
            (work / film.path.name).with_suffix(".yaml").write_text(storyboard, encoding="utf-8")
        exchange(film.path, work, with_storyboard=storyboard is not None)
    where = film.path.with_suffix(".yaml" if storyboard is not None else ".json").name
    note(
        f"segment {segment + 1} is take {number}; {where} says so; memflow retake {film.path} --undo brings the old film back"
    )
    result_path(film.path)


def _undo(film: Path) -> None:
    from memflow_cli.film.excerpt import read_film
    from memflow_cli.film.takes import before_folder, exchange

    before = before_folder(film)
    if not (before / film.name).is_file():
        raise UsageError(f"{film}: no take was picked that could be taken back")
    with_storyboard = film.is_file() and _is_story_of(film.with_suffix(".yaml"), read_film(film))
    exchange(film, before, with_storyboard)
    note("the film is as it was before; the other one is kept, and another --undo brings it back")
    result_path(film)


def _storyboard_after(film: "RecordedFilm", segment: int, take: "Take") -> str | None:
    """What film.yaml is to say with a take in the film; None if what lies there is not this film's storyboard."""
    from memflow_cli.film.names import record_path
    from memflow_cli.film.takes import with_take
    from memflow_cli.story.editing import set_segment_field
    from memflow_cli.story.load import load_stories
    from memflow_cli.story.prompts import escape_braces
    from memflow_cli.story.writing import storyboard_to_yaml

    path = film.path.with_suffix(".yaml")
    if not path.exists() and not path.is_symlink():
        whole = load_stories(record_path(film.path), 10.0)[0].storyboard  # its model as a storyboard names it
        return storyboard_to_yaml(with_take(whole, segment, take), path.parent.absolute())
    if not _is_story_of(path, film):
        note(
            f"{path.name} is not this film's storyboard and stays as it is; {film.path.stem}.json makes the film again"
        )
        return None
    text = set_segment_field(path.read_text(encoding="utf-8"), segment, "seed", take.seed)
    if take.prompt != film.plan.segments[segment].prompt:
        prompt = escape_braces(take.prompt) if take.written is None else take.written
        text = set_segment_field(text, segment, "prompt", prompt)
    return text


def _is_story_of(path: Path, film: "RecordedFilm") -> bool:
    """Whether a file is the storyboard that a film was made from, seed included."""
    from memflow_cli.cli.stories import read_stories
    from memflow_cli.errors import MemflowError

    if not path.is_file() or path.is_symlink():
        return False
    try:
        stories = read_stories(path, 10.0, ())
    except MemflowError:
        return False
    return len(stories) == 1 and stories[0].storyboard == film.storyboard


# making


@contextlib.contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """An empty folder to make films in, gone at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "stories").mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8", errors="surrogateescape")
    return path


def _copy_kept(film: "RecordedFilm", segment: int, target: Path, is_told: bool = True) -> None:
    """Gives a film to come what this one keeps of the segments before this one."""
    from memflow_cli.film.names import run_path
    from memflow_cli.film.run_folder import is_kept

    if segment == 0:
        return
    if is_kept(run_path(film.path)):
        shutil.copytree(run_path(film.path), run_path(target), symlinks=True)
    elif is_told:
        note(
            f"{film.path.name} keeps nothing that could be gone on from: what comes before the segment is made anew too"
        )


def _generate(film: "RecordedFilm", stories: Sequence[Path], out: str, *options: str) -> int:
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
        return run(["generate", *map(str, stories), "-o", out, *as_made, *options])
