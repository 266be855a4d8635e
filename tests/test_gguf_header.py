"""Headers of GGUF files that lie: a sentence, and no more work than a walk over the bytes that are there."""

import struct
import time

import gguf
import numpy as np
import pytest

from memflow_cli.errors import ModelError
from memflow_cli.models.weights.tensor_files import read_tensors

LIST, TEXT, BYTE = 9, 8, 0


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def header(tensors: int, keys: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def a_list(kind: int, count: int) -> bytes:
    return text(b"key") + struct.pack("<IIQ", LIST, kind, count)


LIES = {
    "nothing": (b"GGUF", "cut off or damaged"),
    "another version": (header(0, 0, version=99), "version 99"),
    "another byte order": (b"GGUF" + struct.pack(">IQQ", 3, 1, 0), "version 50331648"),
    "tensors": (header(2**63, 0), "claims 9,223,372,036,854,775,808 tensors"),
    "keys": (header(1, 2**63), "claims 9,223,372,036,854,775,808 keys"),
    "a long text": (header(1, 1, struct.pack("<Q", 2**62)), "cut off or damaged"),
    "a list of lists": (header(0, 1, a_list(LIST, 2**20)), "a list of lists"),
    "a list of bytes": (header(0, 1, a_list(BYTE, 2**40)), "elements of lists"),
    "a list of texts": (header(0, 1, a_list(TEXT, 10**6)), "cut off or damaged"),
    "lists, all together": (header(0, 3, 3 * (a_list(BYTE, 10**6) + bytes(10**6))), "elements of lists"),
    "a kind": (header(0, 1, text(b"key") + struct.pack("<I", 77)), "unknown kind 77"),
    "dimensions": (header(1, 0, text(b"a") + struct.pack("<I", 2**31)), "dimensions of a tensor"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_a_sentence_at_once(lie, tmp_path):
    """Forty bytes that claim a list of 2**40 lists kept the reader busy until it was stopped."""
    content, says = LIES[lie]
    (tmp_path / "m.gguf").write_bytes(content)
    begun = time.process_time()
    with pytest.raises(ModelError, match=says) as caught:
        read_tensors(tmp_path / "m.gguf")
    assert "m.gguf" in caught.value.message
    assert time.process_time() - begun < 2


def test_a_header_with_every_kind_of_value_is_walked_to_its_end(tmp_path):
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "wan")
    for kind in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "uint64", "int64", "float64"):
        getattr(writer, f"add_{kind}")(f"a.{kind}", 3)
    writer.add_bool("a.bool", True)
    writer.add_array("words", ["ein", "Füchslein", ""])
    writer.add_array("numbers", [1, 2, 3])
    writer.add_tensor("blocks.0.weight", np.ones((2, 3, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert list(read_tensors(path)) == ["blocks.0.weight"]
