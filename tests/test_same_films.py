"""The command that compares films sees every difference, and nothing but differences of pictures."""

import numpy as np

from benchmarks.same_films import compare, report
from memflow_cli.film.video import PartWriter


def film(path, frames):
    writer = PartWriter(path, frames.shape[2], frames.shape[1], 16)
    writer.write(frames)
    writer.close()
    return path


def test_films_are_compared_frame_by_frame(tmp_path, capsys):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    frames = np.random.default_rng(1).integers(0, 255, (12, 32, 64, 3), dtype=np.uint8)
    changed = frames.copy()
    changed[7] = 0
    assert compare(film(before / "a.mp4", frames), film(after / "a.mp4", frames)).is_same
    assert compare(film(before / "b.mp4", frames), film(after / "b.mp4", changed)).first_difference is not None
    shorter = compare(film(before / "c.mp4", frames), film(after / "c.mp4", frames[:9]))
    assert shorter.num_frames == (12, 9) and not shorter.is_same
    assert not report(before, after)
    assert capsys.readouterr().out.splitlines()[0] == "a.mp4: 12 frames, same"
    assert not report(before, tmp_path), "no films are not the same films"
