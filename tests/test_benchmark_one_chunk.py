"""The benchmark of one chunk measures what it says, on a model of the family at tiny size."""

import json

from benchmarks.one_chunk import main
from tiny_files import save_model
from tiny_model import HEIGHT, WIDTH


def test_one_chunk_of_a_large_model_is_measured_stage_by_stage(tmp_path, capsys):
    main(["--model", str(save_model(tmp_path / "tiny"))])
    load, chunk, *frames = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert load["stage"] == "load" and load["dtype"] in ("bfloat16", "float32")
    assert chunk["latents"] == [1, 3, 16, HEIGHT // 8, WIDTH // 8] and chunk["steps"] == 4
    assert chunk["denoise"] + chunk["commit"] <= chunk["seconds"] + 0.02, "its stages are part of it; they are rounded"
    assert [item["frames"] for item in frames] == [[count, HEIGHT, WIDTH, 3] for count in (1, 4, 4)]
    peaks = [item["peak_gib"] for item in (load, chunk, *frames)]
    assert peaks == sorted(peaks) and peaks[0] > 0
