"""latents.bin in a run folder: every finished chunk's latents, appended, each with what tells whose they are. No torch.

A record is a header and the latents as float32. Its header names the recipe up to the chunk's segment, so that a chunk
of another film, or of this one before its storyboard was edited, is never taken for one of this film; the checksum of the
chunk's line in the trace, so that both are kept or neither; and a checksum over all of that and the latents.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

OWNER_BYTES = 16
_HEADER = struct.Struct(f"<III{OWNER_BYTES}s")  # chunk, latents' bytes, CRC-32 of the trace's line, owner
_CHECKSUM = struct.Struct("<I")
_RECORD_0_1_0 = struct.Struct("<III")  # version 1: chunk, latents' bytes, CRC-32 of the latents


@dataclass(frozen=True)
class LatentsFormat:
    """What the records of one film look like. `owners`: for every chunk, the recipe up to its segment."""

    owners: tuple[bytes, ...]
    latent_bytes: int  # of a chunk

    @property
    def record_bytes(self) -> int:
        return _HEADER.size + _CHECKSUM.size + self.latent_bytes

    def pack(self, chunk: int, latents: bytes, line_crc: int) -> bytes:
        assert len(latents) == self.latent_bytes, "a chunk has a fixed number of latent frames"
        header = _HEADER.pack(chunk, len(latents), line_crc, self.owners[chunk])
        return header + _CHECKSUM.pack(zlib.crc32(latents, zlib.crc32(header))) + latents

    def valid_records(self, file: IO[bytes]) -> Iterator[int]:
        """Reads from the file's start up to the first record that is not this film's. Yields each one's `line_crc`."""
        for chunk, owner in enumerate(self.owners):
            header, checksum, latents = (file.read(size) for size in (_HEADER.size, _CHECKSUM.size, self.latent_bytes))
            if len(latents) != self.latent_bytes:
                return
            number, num_bytes, line_crc, whose = _HEADER.unpack(header)
            if (number, num_bytes, whose) != (chunk, self.latent_bytes, owner):
                return
            if _CHECKSUM.pack(zlib.crc32(latents, zlib.crc32(header))) != checksum:
                return
            yield line_crc

    def latents(self, file: IO[bytes], start: int, stop: int) -> Iterator[bytes]:
        """The latents of chunks that are known to be valid."""
        file.seek(start * self.record_bytes)
        for _ in range(start, stop):
            yield file.read(self.record_bytes)[-self.latent_bytes :]


def records_of_0_1_0(file: IO[bytes], latent_bytes: int, at_most: int) -> Iterator[bytes]:
    """The latents of a file of version 1, chunk by chunk, up to the first record that is not whole."""
    for chunk in range(at_most):
        header, latents = file.read(_RECORD_0_1_0.size), file.read(latent_bytes)
        if len(latents) != latent_bytes or _RECORD_0_1_0.unpack(header) != (chunk, latent_bytes, zlib.crc32(latents)):
            return
        yield latents
