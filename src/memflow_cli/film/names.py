"""The names of all files that a film comes with.

film.mp4            the film
film.json           its record: everything needed to make it again
film.memory.jsonl   its trace: what memory did
film.srt            its subtitles, if it has any
film.mp4.run/       while it is made (run_folder.py)
film.inspect/       what inspect-memory writes
film.takes/         what retake makes (takes.py)
film.files/         copies of the pictures and the sound that film.yaml names, where memflow wrote it (carrying.py)
film.mp4.lease      on a cluster, while it is made: whose it is (studio/farm/lease.py)
"""

from pathlib import Path


def run_path(film: Path) -> Path:
    """One for film.mp4 and film.MP4, which would share a record."""
    return film.with_name(film.with_suffix(".mp4").name + ".run")


def lease_path(film: Path) -> Path:
    return film.with_name(film.with_suffix(".mp4").name + ".lease")


def record_path(film: Path) -> Path:
    """film.json: everything needed to make the film again."""
    return film.with_suffix(".json")


def trace_path(film: Path) -> Path:
    return film.with_suffix(".memory.jsonl")


def film_path(beside: Path) -> Path:
    """The film beside which a file lies, by its name: film.mp4 for film.json, film.yaml and film.memory.jsonl."""
    if beside.name.endswith(".memory.jsonl"):
        return beside.with_name(beside.name.removesuffix(".memory.jsonl") + ".mp4")
    return beside.with_suffix(".mp4")


def srt_path(film: Path) -> Path:
    return film.with_suffix(".srt")


def report_path(film: Path) -> Path:
    return film.with_name(f"{film.stem}.inspect")


def takes_path(film: Path) -> Path:
    return film.with_name(f"{film.stem}.takes")
