"""`memflow doctor` finds what is missing and names the command that repairs it."""

import json
import os
import sys
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from memflow_cli.cli import doctor
from memflow_cli.cli.app import run
from memflow_cli.cli.doctor import Finding, examine


@pytest.fixture
def no_encoder(monkeypatch):
    """PyAV of somebody who built it without x264."""
    monkeypatch.setitem(sys.modules, "av", None)


def findings(check: str, offline: bool = True) -> list[Finding]:
    return [finding for finding in examine(offline) if finding.check == check]


def test_everything_that_is_looked_at_has_a_verdict():
    seen = list(examine(offline=True))
    assert {"python", "torch", "device", "libraries", "memory", "disk", "video", "models"} <= {
        item.check for item in seen
    }
    assert not [
        item for item in seen if item.check in ("python", "torch", "libraries", "video") and item.status != "ok"
    ]
    assert all(item.repair for item in seen if item.status == "failed")
    missing = [item for item in seen if "memflow-1.3b is not here" in item.text]
    assert not missing or missing[0].repair == "memflow models pull memflow-1.3b"


def test_a_missing_encoder_fails_and_names_its_repair(no_encoder):
    [finding] = findings("video")
    assert finding.status == "failed" and "pip install" in str(finding.repair)


def test_a_missing_library_fails(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    [finding] = findings("libraries")
    assert finding.status == "failed" and "diffusers" in finding.text and "pip install" in str(finding.repair)


@pytest.mark.parametrize(
    ("recorded", "source"),
    [
        ({"url": "file:///my%20work/memflow", "dir_info": {"editable": True}}, "--editable '/my work/memflow'"),
        ({"url": "file:///work/memflow", "dir_info": {}}, "/work/memflow"),
        (
            {"url": "https://a.host/memflow", "vcs_info": {"vcs": "git", "commit_id": "abc123"}},
            "git+https://a.host/memflow@abc123",
        ),
        ({"url": "https://a.host/memflow.whl", "archive_info": {}}, "https://a.host/memflow.whl"),
        (None, "pydantic PyYAML"),
        ({"nothing": "known"}, "pydantic PyYAML"),
    ],
)
def test_what_is_missing_comes_from_where_memflow_was_installed(monkeypatch, tmp_path, recorded, source):
    """It named the package as if an index had it."""
    about = tmp_path / "memflow_cli-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: memflow-cli\nVersion: 1\n")
    if recorded is not None:
        (about / "direct_url.json").write_text(json.dumps(recorded))
    monkeypatch.setattr(doctor.metadata, "distribution", lambda name: PathDistribution(about))
    for library in ("pydantic", "yaml"):
        monkeypatch.setitem(sys.modules, library, None)
    [finding] = findings("libraries")
    assert str(finding.repair).endswith(f"pip install --force-reinstall {source}")


def test_a_check_that_breaks_is_a_finding_not_a_crash(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 1 / 0)
    [finding] = findings("memory")
    assert finding.status == "failed" and "pip install" in str(finding.repair)


@pytest.fixture
def in_trouble(monkeypatch, tmp_path, capfd):
    """Runs the command in a folder, with that environment: its exit code, and its findings by check."""

    def in_trouble(folder: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, list[dict]]]:
        monkeypatch.chdir(folder)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = run(["doctor", "--json", *arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err, captured.err
        found: dict[str, list[dict]] = {}
        for finding in json.loads(captured.out):
            assert finding["repair"] or finding["status"] != "failed", f"{finding} names no repair"
            found.setdefault(finding["check"], []).append(finding)
        return code, found

    return in_trouble


def test_no_hub_is_a_note_with_its_repair(in_trouble, monkeypatch, tmp_path):
    """The hub's library reads its settings when it is imported, so they are set in it, too."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, found = in_trouble(tmp_path)
    [hub] = found["hub"]
    assert code == 0 and hub["status"] == "note" and hub["repair"].startswith("export HF_ENDPOINT=")
    assert in_trouble(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")[1]["hub"][0]["repair"] == "unset HF_ENDPOINT"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert in_trouble(tmp_path)[1]["hub"][0]["repair"] == "unset HF_HUB_OFFLINE"


def test_what_the_machine_has_of_ffmpeg_does_not_matter(in_trouble, tmp_path):
    """The encoder comes with a library: an old or broken ffmpeg passed doctor, and failed after the render."""
    broken = str(tmp_path / "none")
    code, found = in_trouble(tmp_path, "--offline", PATH=str(tmp_path), IMAGEIO_FFMPEG_EXE=broken)
    assert code == 0 and found["video"][0]["status"] == "ok"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can make files")
def test_folders_where_no_file_can_be_made(in_trouble, monkeypatch):
    """The super-user may write anywhere but where no file can be made at all."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/proc/models")
    code, found = in_trouble(Path("/proc"), "--offline")
    here, models = found["disk"]
    assert code == 1 and here["status"] == "failed" and "/proc" in here["text"] and here["repair"].startswith("cd ")
    assert models["status"] == "note" and "HF_HOME" in models["repair"]


def test_json_is_one_document_and_the_exit_code_tells(no_encoder, capsys):
    assert run(["doctor", "--json", "--offline"]) == 1
    captured = capsys.readouterr()
    listed = json.loads(captured.out)
    assert {"check", "status", "text", "repair"} == listed[0].keys()
    assert "video" in captured.err and "Traceback" not in captured.err
