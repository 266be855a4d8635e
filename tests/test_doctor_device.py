"""doctor --device tells what holds; a kernel that computes something else is found out."""

import pytest
import torch

from memflow_cli.bench import device_check, recordings
from memflow_cli.bench.device_check import EXACT, OPTIONS, check_options, measure_models
from memflow_cli.models.wan.attention import attend

CPU = torch.device("cpu")


@pytest.fixture
def one_recording(monkeypatch):
    """The smallest: the others are played by test_parity."""
    smallest = min(recordings.recorded(), key=lambda path: path.stat().st_size)
    monkeypatch.setattr(recordings, "recorded", lambda: [smallest])


def test_options_of_a_cpu_hold_and_those_of_a_gpu_are_told(one_recording, monkeypatch):
    monkeypatch.setattr(device_check, "OPTIONS", tuple(item for item in OPTIONS if item.name != "compile"))
    outcomes = {outcome.option: outcome for outcome in check_options(CPU)}
    assert outcomes["plain, fp32"].max_error <= EXACT["cpu"]
    for name in ("plain, bf16", "streamed blocks", "overlap", "int8 keys and values"):
        assert outcomes[name].verdict == "holds"
    assert 0 < outcomes["int8 keys and values"].max_error != outcomes["plain, fp32"].max_error
    assert outcomes["graphs"].verdict == "not run" and outcomes["graphs"].problem == "wants cuda"


def test_an_option_that_computes_something_else_fails(one_recording, monkeypatch):
    """A table in which everything always holds would be worth nothing."""

    def wrong(model, device):
        model.transformer.attend = lambda query, key, value: attend(query * 1.05, key, value)
        return model

    monkeypatch.setattr(device_check, "OPTIONS", (device_check.Option("a wrong kernel", wrong),))
    (outcome,) = check_options(CPU)
    assert outcome.verdict == "FAILS"


def test_every_known_model_has_an_estimate():
    speeds = list(measure_models(CPU))
    assert {speed.model for speed in speeds} >= {"memflow-1.3b", "longlive-2.0-5b", "krea-realtime-14b"}
    assert all(speed.estimated_bytes > 1 << 30 and speed.problem for speed in speeds)
