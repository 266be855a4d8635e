"""Models come from the hub: exercised by the command itself, against a server on loopback that speaks its protocol."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crash_points import EVERY_CALL, life
from hub_server import COMMIT, serve
from memflow_cli.cli.app import run
from memflow_cli.models.catalog import find_model
from tiny_files import save_model

MEMFLOW = [sys.executable, "-m", "memflow_cli"]
LARGE = "transformer/diffusion_pytorch_model.safetensors"
BIG = "tokenizer/notes.bin"
MIB = 1 << 20
PLUGIN = """
from dataclasses import replace
from pathlib import Path
from memflow_cli.models.catalog import RemoteFile, Repository, folder_model

def model():
    entry = folder_model(Path({folder!r}))
    files = tuple(RemoteFile(*row) for row in {rows!r})
    components = ("transformer", "text_encoder", "tokenizer", "vae")
    hub = Repository("someone/tiny", "main", "MIT", components, files)
    return replace(entry, name="tiny-hub", folder=None, repositories=(hub,), transformer_file={large!r})
"""


class Machine:
    """A fresh machine: an empty hub cache, a plug-in whose model is on the server, its checksums known or not."""

    def __init__(self, folder: Path, model: Path, with_big_file: bool, known: bool) -> None:
        self.home = folder / "hf"
        paths = sorted(path for path in model.rglob("*") if path.is_file() and path.parent != model)
        self.content = {str(path.relative_to(model)): path.read_bytes() for path in paths}
        self.content |= {BIG: os.urandom(1 * MIB) * 25} if with_big_file else {}
        self.content = dict(sorted(self.content.items()))
        rows = [
            (name, len(data), hashlib.sha256(data).hexdigest() if known else None)
            for name, data in self.content.items()
        ]
        site = folder / "site"
        (site / "tiny_hub-1.0.dist-info").mkdir(parents=True)
        (site / "tiny_hub-1.0.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: tiny-hub\nVersion: 1.0\n"
        )
        (site / "tiny_hub-1.0.dist-info" / "entry_points.txt").write_text(
            "[memflow_cli.backbones]\ntiny-hub = tiny_hub_plugin:model\n"
        )
        (site / "tiny_hub_plugin.py").write_text(PLUGIN.format(folder=str(model), rows=rows, large=LARGE))
        self.site = site
        self.endpoint = "http://127.0.0.1:9"  # nobody listens there

    def fill_cache(self) -> Path:
        """The hub's cache with every file in it."""
        repository = self.home / "hub" / "models--someone--tiny"
        for name, data in self.content.items():
            blob, link = (
                repository / "blobs" / hashlib.sha256(data).hexdigest(),
                repository / "snapshots" / COMMIT / name,
            )
            for path in (blob, link):
                path.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(data)
            link.symlink_to(blob)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(COMMIT)
        return repository.parent

    @property
    def files(self) -> dict[tuple[str, str], bytes]:
        return {("someone/tiny", name): content for name, content in self.content.items()}

    def memflow(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        place = {
            "HF_HOME": str(self.home),
            "HF_ENDPOINT": self.endpoint,
            "PYTHONPATH": os.pathsep.join([str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "HF_HUB_OFFLINE": "0",
        }
        done = subprocess.run(
            [*MEMFLOW, *arguments], env=os.environ | place | environment, capture_output=True, text=True, timeout=120
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def verify(self, talk: Path, monkeypatch) -> int:
        """`models verify`, in a fork of this process, which has what it imports. Its exit code."""
        with monkeypatch.context() as patch:
            patch.syspath_prepend(self.site)
            patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(self.home / "hub"))
            return life(["models", "verify", "tiny-hub"], talk)[0]


@pytest.fixture(autouse=True)
def plugin_of_its_own(monkeypatch):
    """Not the one that an earlier test has imported into this process."""
    monkeypatch.delitem(sys.modules, "tiny_hub_plugin", raising=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("hub") / "tiny")


@pytest.fixture
def machine(request, tmp_path, model):
    name = request.node.name
    return Machine(tmp_path, model, with_big_file="interrupted" in name, known="not_known" not in name)


def test_generation_never_downloads_and_names_the_command(machine, tmp_path):
    (tmp_path / "s.yaml").write_text("title: t\nmodel: tiny-hub\nsegments: [{prompt: a red fox, duration: 1s}]\n")
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        done = machine.memflow("generate", str(tmp_path / "s.yaml"), "-o", str(tmp_path / "film.mp4"))
        assert hub.requests == []
    assert done.returncode == 3 and "is not downloaded: 8 of 8 files" in done.stderr
    assert "memflow models pull tiny-hub" in done.stderr


def test_pulled_model_is_listed_and_verified(machine):
    with serve(machine.files, token="secret") as hub:
        machine.endpoint = hub.endpoint
        pulled = machine.memflow("models", "pull", "tiny-hub", HF_TOKEN="secret")
    assert pulled.returncode == 0, pulled.stderr
    assert "licence MIT" in pulled.stderr and "terms of these weights" in pulled.stderr
    for name, path in zip(machine.content, pulled.stdout.split(), strict=True):
        assert Path(path).read_bytes() == machine.content[name] and path.startswith(str(machine.home))
    rows = {row["name"]: row for row in json.loads(machine.memflow("models", "list", "--json").stdout)}
    assert rows["tiny-hub"]["ready"] and not rows["memflow-1.3b"]["ready"]
    assert rows["tiny-hub"]["disk_bytes"] == sum(map(len, machine.content.values()))
    verified = machine.memflow("models", "verify", "tiny-hub")
    assert verified.returncode == 0 and "transformer: 69 tensors" in verified.stdout, verified.stderr
    assert all(f"ok     {part}" in verified.stdout for part in ("text encoder: ", "tokenizer", "autoencoder"))
    assert "not checked" not in verified.stdout, "every checksum is known"
    again = machine.memflow("models", "pull", "tiny-hub", HF_HUB_OFFLINE="1")
    assert again.returncode == 0 and again.stdout == pulled.stdout


def test_interrupted_download_goes_on_where_it_stopped(machine):
    """huggingface_hub itself, in the tested version, throws away what an earlier run downloaded of a file."""
    assert machine.content[BIG] and list(machine.content)[-1] != BIG
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        hub.break_at = (BIG, 15 * MIB)
        broken = machine.memflow("models", "pull", "tiny-hub")
        assert broken.returncode == 3 and "kept" in broken.stderr
        assert not list(machine.home.rglob(Path(BIG).name))
        hub.break_at, hub.is_down = None, False
        hub.requests.clear()
        pulled = machine.memflow("models", "pull", "tiny-hub")
        assert pulled.returncode == 0, pulled.stderr
        assert hub.ranges(BIG) == [f"bytes={10 * MIB}-"], "the library writes 10 MiB at a time"
        assert not hub.ranges("text_encoder/model.safetensors"), "files that are here are not asked for again"
    path = next(Path(line) for line in pulled.stdout.split() if line.endswith(BIG))
    assert path.read_bytes() == machine.content[BIG]
    assert not list(machine.home.rglob("*.part")) and not list(machine.home.rglob("*.part.lock"))


def test_content_that_is_not_as_known_is_thrown_away(machine):
    files = machine.files
    files[("someone/tiny", LARGE)] = bytes(len(machine.content[LARGE]))
    with serve(files) as hub:
        machine.endpoint = hub.endpoint
        done = machine.memflow("models", "pull", "tiny-hub")
    assert done.returncode == 3 and "checksum" in done.stderr and not list(machine.home.rglob("*.part"))


@pytest.mark.parametrize(
    ("environment", "message"),
    [({"HF_HUB_OFFLINE": "1"}, "offline mode is on"), ({}, "cannot reach the hub")],
    ids=["offline", "nobody there"],
)
def test_no_hub_is_a_sentence(machine, environment, message):
    done = machine.memflow("models", "pull", "tiny-hub", **environment)
    assert done.returncode == 3 and message in done.stderr


def test_a_refused_or_missing_file_is_a_sentence(machine):
    with serve(machine.files, token="secret") as hub:
        machine.endpoint = hub.endpoint
        refused = machine.memflow("models", "pull", "tiny-hub", HF_TOKEN="wrong")
    assert refused.returncode == 3 and "HF_TOKEN" in refused.stderr
    with serve({}) as hub:
        machine.endpoint = hub.endpoint
        missing = machine.memflow("models", "pull", "tiny-hub")
    assert missing.returncode == 3 and "someone/tiny/" in missing.stderr


def test_verify_finds_a_damaged_file(machine):
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        pulled = machine.memflow("models", "pull", "tiny-hub").stdout.split()
    damaged = next(Path(line) for line in pulled if line.endswith(LARGE))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(bytes(content))
    done = machine.memflow("models", "verify", "tiny-hub")
    assert done.returncode == 3 and "checksum" in done.stdout and "1 files are not" in done.stderr


def test_verify_says_what_is_not_known_and_finds_damage_all_the_same(machine, monkeypatch, capfd):
    """In this process, on files that lie as the hub's library lays them: large ones under their checksum."""
    monkeypatch.syspath_prepend(machine.site)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(machine.fill_cache()))
    assert run(["models", "verify", "tiny-hub"]) == 0, capfd.readouterr().err
    told = capfd.readouterr().out.splitlines()
    unchecked = [line for line in told if line.startswith("not checked")]
    assert len(unchecked) == len(machine.content)
    [line] = [line for line in unchecked if LARGE in line]
    assert "no published checksum is known" in line and f"(here: {COMMIT[:12]})" in line
    assert line.endswith("it is what the hub sent")
    damaged = next(path for path in machine.home.rglob(Path(LARGE).name) if "transformer" in path.parts)
    content = damaged.read_bytes()
    damaged.resolve().write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert run(["models", "verify", "tiny-hub"]) == 3
    captured = capfd.readouterr()
    assert (
        f"wrong  someone/tiny/{LARGE} has checksum" in captured.out and "memflow models pull tiny-hub" in captured.err
    )


def test_catalog_is_told_without_the_network(machine):
    """The published models: every size, licence and revision can be read before anything is downloaded."""
    listed = machine.memflow("models", "list")
    assert listed.returncode == 0 and "self-forcing-1.3b" in listed.stdout
    shown = json.loads(machine.memflow("models", "show", "longlive-1.3b", "--json").stdout)
    assert (
        shown["licence"].startswith("Apache-2.0 since 2025-11-01")
        and shown["policy"] == "sink"
        and len(shown["files"]) == 14
    )
    assert all(len(file["revision"]) == 40 and len(file["sha256"]) == 64 for file in shown["files"])
    entry = find_model("memflow-1.3b")
    assert [file.sha256 for file in entry.repositories[0].files] == [None, None], "MemFlow's checksums are not known"
    assert entry.num_bytes > 28e9 and entry.geometry.tokens_per_frame(entry.width, entry.height) == 30 * 52


@pytest.mark.parametrize("how", ["flipped", "missing, not_known", "gone"])
def test_pull_mends_what_verify_finds(how, machine, tmp_path, monkeypatch):
    """After one flipped or missing byte verify said `models pull`, and pull said that all was here, for ever."""
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        pulled = machine.memflow("models", "pull", "tiny-hub").stdout.split()
        path = next(Path(line) for line in pulled if line.endswith(LARGE))
        content = path.read_bytes()
        if how == "gone":
            path.resolve().unlink()
        else:
            spoilt = content[:-1] if "missing" in how else content[:-1] + bytes([content[-1] ^ 1])
            path.resolve().write_bytes(spoilt)
        assert machine.verify(tmp_path / "talk", monkeypatch) == 3, (tmp_path / "talk").read_text()
        hub.requests.clear()
        mended = machine.memflow("models", "pull", "tiny-hub")
        assert mended.returncode == 0, mended.stderr
        assert path.read_bytes() == content and mended.stdout.split() == pulled
        assert not hub.ranges(BIG), "what is whole is left alone"
        assert machine.verify(tmp_path / "talk", monkeypatch) == 0, (tmp_path / "talk").read_text()


def test_a_file_that_the_cache_only_links_to_is_not_removed(machine, tmp_path):
    """Whoever had a model elsewhere and linked it into the hub's cache lost that file, once a byte of it was wrong."""
    own = tmp_path / "own.safetensors"
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        pulled = machine.memflow("models", "pull", "tiny-hub").stdout.split()
        path = next(Path(line) for line in pulled if line.endswith(LARGE))
        own.write_bytes(path.read_bytes()[:-1])
        path.unlink()
        path.symlink_to(own)
        mended = machine.memflow("models", "pull", "tiny-hub")
    assert mended.returncode == 0, mended.stderr
    assert own.stat().st_size == len(machine.content[LARGE]) - 1
    assert path.read_bytes() == machine.content[LARGE]


def test_a_part_is_not_written_through_a_link(machine, tmp_path):
    own = tmp_path / "mine"
    own.write_text("mine")
    blobs = machine.home / "hub" / "models--someone--tiny" / "blobs"
    blobs.mkdir(parents=True)
    for content in machine.content.values():
        (blobs / f"{hashlib.sha256(content).hexdigest()}.part").symlink_to(own)
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        done = machine.memflow("models", "pull", "tiny-hub")
    assert done.returncode == 3 and ".part is in its way" in done.stderr and own.read_text() == "mine"


@pytest.mark.slow
def test_a_download_killed_before_any_change_goes_on(machine, tmp_path, monkeypatch):
    """Each life of `models pull` ends before another call that changes a file; the next pull has everything, and nothing else."""
    import huggingface_hub.file_download  # noqa: F401 - all that a life needs, before it is forked off

    import memflow_cli.cli.models
    import memflow_cli.models.download  # noqa: F401

    def contents() -> dict[str, bytes]:
        found = (path for path in machine.home.rglob("*") if path.is_file() and ".locks" not in path.parts)
        return {str(path.relative_to(machine.home)): path.read_bytes() for path in found}

    monkeypatch.syspath_prepend(machine.site)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(machine.home / "hub"))
    pull, talk = ["models", "pull", "tiny-hub"], tmp_path / "talk"
    with serve(machine.files) as hub:
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", hub.endpoint + template)
        code, calls = life(pull, talk, die_at=0)
        assert code == 0, talk.read_text()
        whole = contents()
        for die_at in range(1, len(calls) + 1, 1 if EVERY_CALL else 1 + len(calls) // 16):
            shutil.rmtree(machine.home)
            what = f"killed before {calls[die_at - 1]} ({die_at} of {len(calls)})"
            assert life(pull, talk, die_at)[0] == -9, what
            assert life(pull, talk)[0] == 0, f"{what}: {talk.read_text()}"
            assert contents() == whole, what
    assert life(["models", "verify", "tiny-hub"], talk)[0] == 0, talk.read_text()


LIES = {
    "etag above": {"ETag": '"../../../../evil"'},
    "etag a dot": {"ETag": '"."'},
    "commit above": {"X-Repo-Commit": "../../../../evil"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_hub_that_lies_writes_nothing_outside_the_cache(lie, machine, tmp_path, monkeypatch):
    """Names that a server gives become names of files: refused in a sentence, not as "unexpected ValueError"."""
    import hub_server

    send = hub_server.Handler.send_header
    monkeypatch.setattr(
        hub_server.Handler, "send_header", lambda self, key, value: send(self, key, LIES[lie].get(key, value))
    )
    before = set(tmp_path.rglob("*"))
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        done = machine.memflow("models", "pull", "tiny-hub")
    assert done.returncode == 3 and "unexpected" not in done.stderr and "someone/tiny" in done.stderr, done.stderr
    new = [path for path in tmp_path.rglob("*") if path not in before]
    assert all(path.is_relative_to(machine.home) for path in new)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_part_that_is_not_a_file_is_a_sentence(kind, machine):
    """A pipe in the place of an unfinished download was waited for, for ever."""
    blobs = machine.home / "hub" / "models--someone--tiny" / "blobs"
    blobs.mkdir(parents=True)
    for content in machine.content.values():
        part = blobs / f"{hashlib.sha256(content).hexdigest()}.part"
        part.mkdir() if kind == "folder" else os.mkfifo(part)
    with serve(machine.files) as hub:
        machine.endpoint = hub.endpoint
        done = machine.memflow("models", "pull", "tiny-hub")
    assert done.returncode == 3 and ".part is in its way" in done.stderr


def test_what_is_here_of_an_interrupted_download_needs_no_room_again(tmp_path, monkeypatch):
    """Of 5.68 GB 50 MB were missing, 5.4 GB were free, and the download was refused."""
    from memflow_cli.models import download
    from memflow_cli.models.entry import RemoteFile, Repository
    from memflow_cli.models.hub import HubFile

    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path)
    file = RemoteFile("weights.safetensors", 1000)
    missing = [HubFile(Repository("me/tiny", "1" * 40, "MIT", ("transformer",), (file,)), file, None)]
    blobs = tmp_path / "models--me--tiny" / "blobs"
    blobs.mkdir(parents=True)
    assert download.bytes_to_come(missing) == 1000
    (blobs / "abc.part").write_bytes(bytes(900))
    assert download.bytes_to_come(missing) == 100
    (blobs / "older.part").write_bytes(bytes(900))
    assert download.bytes_to_come(missing) == 0
