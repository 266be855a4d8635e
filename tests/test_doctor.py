"""`memflow doctor` finds what is missing and names the command that repairs it."""

import json
import sys

import pytest

from memflow_cli.cli import doctor
from memflow_cli.cli.app import run
from memflow_cli.cli.doctor import Finding, examine


@pytest.fixture
def broken_ffmpeg(monkeypatch, tmp_path):
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho no encoders here\n")
    fake.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(fake))
    return fake


def findings(check: str, offline: bool = True) -> list[Finding]:
    return [finding for finding in examine(offline) if finding.check == check]


def test_everything_that_is_looked_at_has_a_verdict():
    seen = list(examine(offline=True))
    assert {"python", "torch", "device", "libraries", "memory", "disk", "ffmpeg", "models"} <= {
        item.check for item in seen
    }
    assert not [
        item for item in seen if item.check in ("python", "torch", "libraries", "ffmpeg") and item.status != "ok"
    ]
    assert all(item.repair for item in seen if item.status == "failed")
    missing = [item for item in seen if "memflow-1.3b is not here" in item.text]
    assert not missing or missing[0].repair == "memflow models pull memflow-1.3b"


def test_a_broken_ffmpeg_fails_and_names_its_repair(broken_ffmpeg):
    [finding] = findings("ffmpeg")
    assert finding.status == "failed" and str(broken_ffmpeg) in finding.text and finding.repair


def test_a_missing_library_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    [finding] = findings("libraries")
    assert finding.status == "failed" and "diffusers" in finding.text and "pip install" in str(finding.repair)


def test_a_check_that_breaks_is_a_finding_not_a_crash(monkeypatch):
    monkeypatch.setattr(doctor, "_physical_memory", lambda: 1 / 0)
    assert findings("memory")[0].status == "failed"


def test_an_unreachable_hub_is_a_note(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    [finding] = findings("hub", offline=False)
    assert finding.status == "note" and "HF_ENDPOINT" in str(finding.repair)


def test_json_is_one_document_and_the_exit_code_tells(broken_ffmpeg, capsys):
    assert run(["doctor", "--json", "--offline"]) == 1
    captured = capsys.readouterr()
    listed = json.loads(captured.out)
    assert {"check", "status", "text", "repair"} == listed[0].keys()
    assert "ffmpeg" in captured.err and "Traceback" not in captured.err
