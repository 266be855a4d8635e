"""Each published system, in this package's words, computes what its published code computes."""

from pathlib import Path

import pytest

from memflow_cli.bench.recordings import recorded
from parity.check import check, main

RECORDINGS = [*recorded(), *sorted((Path(__file__).parent / "parity").glob("*.safetensors"))]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recording_is_reproduced(path):
    result = check(path)
    assert result.max_abs_err <= 1e-4
    assert result.mismatches == 0


def test_all_recordings_are_here():
    assert len(RECORDINGS) == 12


def test_check_fails_on_a_recording_that_differs(tmp_path, capsys):
    """The check would be worth nothing if it could not fail."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(RECORDINGS[0], framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    tensors["latents"] = tensors["latents"] + 2e-4
    path = tmp_path / "altered.safetensors"
    save_file(tensors, path, metadata)
    assert main([str(path)]) == 1
    assert capsys.readouterr().out.startswith("altered max_abs_err=")
