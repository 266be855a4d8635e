"""`memflow bench`: every policy's film is really made, and the figures are those of what was measured."""

import io
import json
import re
import shutil

import pytest
import torch

from memflow_cli.bench.speed import bench_plan, memory_options, num_chunks, run_bench, steady_after
from memflow_cli.cli.app import run
from memflow_cli.cli.progress import chunk_bar
from memflow_cli.errors import UsageError
from memflow_cli.models.catalog import find_model
from memflow_cli.models.wan.random_weights import random_model, random_prompts
from tiny_model import HEIGHT, WIDTH, tiny_backbone, tiny_entry


def test_policies_are_measured_side_by_side():
    backbone = tiny_backbone(tiny_entry())
    report = run_bench(backbone, (WIDTH, HEIGHT), ["window", "sink", "nam+sma"], 18, ["a fox", "the fox again"])
    assert [item.name for item in report.figures] == ["window", "sink", "nam+sma"]
    counted = 18 - steady_after(backbone.geometry)
    for item in report.figures:
        assert len(item.chunk_seconds) == counted
        assert item.frames_per_second == pytest.approx(12 / item.seconds)
        assert sum(spent[0] for spent in item.stage_seconds.values()) <= item.chunk_seconds[0] + 1e-3
    assert {(ratio.policy, ratio.baseline) for ratio in report.ratios} == {
        ("sink", "window"),
        ("nam+sma", "window"),
        ("window", "sink"),
        ("nam+sma", "sink"),
    }
    assert json.loads(json.dumps(report.to_json()))["peak_bytes"] > 0


def test_overlap_is_measured_block_by_block_in_the_same_run(monkeypatch):
    monkeypatch.setattr("memflow_cli.bench.speed.BLOCK_CHUNKS", 2)
    monkeypatch.setattr("memflow_cli.bench.speed.BLOCK_PAIRS", 3)
    backbone, told = tiny_backbone(tiny_entry()), []
    report = run_bench(backbone, (WIDTH, HEIGHT), ["sink"], 15, ["a fox", "the fox"], told.append, overlap="nam")
    assert report.overlap is not None and report.overlap.frames_per_second > 0
    assert (report.overlap.ratio.policy, report.overlap.ratio.baseline) == ("nam, overlapped", "nam, in turn")
    assert 0 < report.overlap.ratio.low <= report.overlap.ratio.median <= report.overlap.ratio.high
    assert told == [*range(15), 15, 27, 29, 31] and told[-1] < num_chunks(backbone.geometry, 15, overlap=True)
    assert report.to_json()["overlap"]["policy"] == "nam, overlapped"


def test_more_frames_in_view_are_more_work():
    backbone = tiny_backbone(tiny_entry())
    report = run_bench(backbone, (WIDTH, HEIGHT), ["window", "sink", "nam"], 16, ["a fox", "the fox again"])
    window, sink, nam = (item.flops_a_chunk for item in report.figures)
    assert window < sink < nam


def test_work_of_a_pass_is_what_its_matrix_products_do():
    """Against torch's own count of the real forward."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from memflow_cli.kv_cache import CacheShape, KVCache

    model = tiny_backbone(tiny_entry())
    geometry = model.geometry
    grid = geometry.grid_size(WIDTH, HEIGHT)
    shape = CacheShape(geometry.num_layers, geometry.num_heads, geometry.head_dim, grid[0] * grid[1], 3, 9, 3, 6)
    cache = KVCache(shape, rotate=lambda key, positions: model.rotate(key, positions, grid))
    prompt = model.project_prompt(model.encode_prompts(["a fox"]))
    cache.begin(range(3))
    model.transformer.parts = None  # whose packed products the counter does not know
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model.predict(torch.randn(1, 3, geometry.latent_channels, 2, 4), 500.0, prompt, cache)
    flops, _ = model.work_of_pass(grid, frames_in_view=3)
    assert flops == pytest.approx(counter.get_total_flops(), rel=0.15)  # theirs counts the timestep's layers too


def test_plan_covers_the_film_with_prompt_switches():
    geometry = tiny_entry().geometry
    plan = bench_plan(geometry, (WIDTH, HEIGHT), 40)
    assert (plan.num_chunks, plan.num_frames) == (40, geometry.num_frames(40))
    assert [segment.num_chunks for segment in plan.segments] == [16, 16, 8]


def test_wrong_requests_are_sentences():
    backbone = tiny_backbone(tiny_entry())
    with pytest.raises(UsageError, match="at least"):
        run_bench(backbone, (WIDTH, HEIGHT), ["sink"], 5, ["a", "b"])
    with pytest.raises(UsageError, match="sink recalls no frames"):
        memory_options("sink+sma")
    with pytest.raises(UsageError, match=r"only \+sma"):
        memory_options("nam+magic")
    assert run(["bench", "--policies", "sink,sink"]) == 2
    assert run(["bench", "--size", "big"]) == 2
    assert run(["bench", "--accelerate", "magic"]) == 2


def test_random_weights_have_the_model_s_shape(tiny_model_folder):
    entry = find_model(tiny_model_folder)
    model = random_model(entry)
    report = run_bench(model, (entry.width, entry.height), ["sink"], 15, random_prompts(entry, 2))
    assert report.figures[0].frames_per_second > 0


def test_a_led_model_is_measured_with_random_weights(tiny_model_folder, tmp_path, capsys):
    """Its walk asks for an empty prompt's embeddings, which random weights had none of."""
    folder = shutil.copytree(tiny_model_folder, tmp_path / "led")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"guidance_scale": 3.0}))
    arguments = ["bench", "--model", str(folder), "--policies", "nam", "--chunks", "15", "--random-weights"]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"][0]["policy"] == "nam"


def test_command_prints_tables_and_json(tiny_model_folder, capsys):
    arguments = ["bench", "--model", str(tiny_model_folder), "--policies", "window,nam", "--chunks", "16"]
    assert run(arguments) == 0
    printed = capsys.readouterr()
    assert "|" not in printed.out, "a table for people, not Markdown"
    assert all(len(line) <= 80 for line in printed.out.splitlines()), printed.out
    assert re.search(r"^nam +window +\d\.\d{3}", printed.out, re.MULTILINE) and "%)" in printed.out
    assert "chunks a policy" in printed.err and "measuring" not in printed.err, "no bar where there is no terminal"
    assert run([*arguments, "--json"]) == 0
    assert {item["policy"] for item in json.loads(capsys.readouterr().out)["policies"]} == {"window", "nam"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("shown", [True, False])
def test_a_terminal_shows_how_far_it_is(monkeypatch, shown):
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with chunk_bar(5, "loading tiny", shown) as on_chunk:
        on_chunk(3)
    drawn = terminal.getvalue()
    assert ("loading tiny" in drawn, "measuring" in drawn, "3/5" in drawn) == (shown, shown, shown)
