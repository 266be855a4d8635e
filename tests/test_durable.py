"""A file has its name and its whole content, or is as it was before, on every drive."""

import errno
import os
import stat

import pytest

from memflow_cli.errors import MemflowError
from memflow_cli.film.durable import file_sha256, rename_through, write_through


@pytest.fixture
def folders_answer(monkeypatch):
    """Makes fsync of a folder fail with an error number, as some drives do; files are synced."""
    fsync = os.fsync

    def install(number: int) -> None:
        def answering(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", answering)

    return install


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF])
def test_a_drive_that_cannot_sync_a_folder_takes_files(tmp_path, folders_answer, number):
    """CIFS, vboxsf and some FUSE drives answer EINVAL: no film could be made there, though the rename had succeeded."""
    folders_answer(number)
    write_through(tmp_path / "a", b"one")
    write_through(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two" and [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fails_is_a_sentence(tmp_path, folders_answer, number):
    folders_answer(number)
    with pytest.raises(MemflowError, match=f"cannot write .*a: {os.strerror(number)}"):
        write_through(tmp_path / "a", b"one")


def test_what_cannot_be_written_stays_as_it_was(tmp_path):
    write_through(tmp_path / "a", b"one")
    with pytest.raises(MemflowError, match="No such file"):
        rename_through(tmp_path / "missing", tmp_path / "a")
    with pytest.raises(MemflowError, match="No such file"):
        write_through(tmp_path / "nowhere" / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert file_sha256(tmp_path / "a").startswith("7692c3ad3540bb80")
