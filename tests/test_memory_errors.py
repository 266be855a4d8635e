"""Out of memory is exit 4: what was being done, how much was asked for, what lowers it, and nothing is lost."""

import pytest
import torch

from memflow_cli.errors import OutOfMemoryError
from memflow_cli.film import make_film
from memflow_cli.kv_cache import KVCache
from memflow_cli.memory_errors import memory_errors
from tiny_model import story, tiny_backbone, tiny_entry

CUDA = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7.79 GiB"
CPU = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 3221225472 bytes."


@pytest.mark.parametrize(
    ("error", "amount"),
    [(torch.OutOfMemoryError(CUDA), "2.50 GiB"), (RuntimeError(CPU), "3.00 GiB"), (MemoryError(), "")],
    ids=["GPU", "host", "Python"],
)
def test_a_film_that_runs_out_of_memory(error, amount, monkeypatch, tmp_path):
    entry = tiny_entry()
    commit = KVCache.commit

    def third_commit_fails(cache, calls=[]):  # noqa: B006 - it counts its own calls
        calls.append(1)
        if len(calls) == 3:
            raise error
        commit(cache)

    monkeypatch.setattr(KVCache, "commit", third_commit_fails)
    with pytest.raises(OutOfMemoryError) as caught:
        make_film(story(), entry, tiny_backbone(entry), tmp_path / "film.mp4")
    assert caught.value.exit_code == 4
    assert "out of memory at 64x32" in caught.value.message and amount in caught.value.message
    assert "--vram" in str(caught.value.hint) and "--size" in str(caught.value.hint)
    monkeypatch.undo()
    make_film(story(), entry, tiny_backbone(entry), tmp_path / "film.mp4")  # goes on with what was kept


def test_what_was_being_done_is_told_from_the_innermost_part():
    entry = tiny_entry("wan")
    decoder = tiny_backbone(entry).decoder()
    decoder._vae.decoder.forward = lambda *_, **__: (_ for _ in ()).throw(torch.OutOfMemoryError(CUDA))
    with (
        pytest.raises(OutOfMemoryError, match="while decoding frames, which asked for 2.50 GiB"),
        memory_errors("here"),
    ):
        decoder.decode(torch.zeros(1, 16, 4, 8))


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), memory_errors("here"):
        raise RuntimeError("something else")
