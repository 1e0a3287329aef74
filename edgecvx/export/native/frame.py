"""The frame of a file of the native engine: what stands before its description, and holds the whole of it together."""

from __future__ import annotations

import struct
import zlib

from edgecvx.errors import ArtifactError

MAGIC = b"\x89ECVX\r\n\x1a"
VERSION = 1
ALIGNED = 64
"""Tensors begin at multiples of this."""
HEAD = struct.Struct("<8sIIQII")
"""Magic, version, CRC-32, size of the file, size of the description, 0."""
_CHECKED = 16
"""Where the bytes begin that the CRC-32 is of."""


def aligned(size: int) -> int:
    """The next multiple of ``ALIGNED``."""
    return -(-size // ALIGNED) * ALIGNED


def padded(content: bytes, multiple: int) -> bytes:
    """Bytes with zeros behind them, up to a multiple."""
    return content + bytes(-len(content) % multiple)


def framed(description: bytes, tensors: bytes) -> bytes:
    """A whole file; the tensors begin behind the description, at the next multiple of ``ALIGNED``."""
    size = aligned(HEAD.size + len(description)) + len(tensors)
    content = padded(_head(0, size, len(description)) + description, ALIGNED) + tensors
    return _head(zlib.crc32(memoryview(content)[_CHECKED:]), size, len(description)) + content[HEAD.size :]


def _head(checksum: int, size: int, description: int) -> bytes:
    return HEAD.pack(MAGIC, VERSION, checksum, size, description, 0)


def description_of(content: bytes) -> memoryview:
    """The description in a file that is whole.

    Raises:
        ArtifactError: It is no such file, of another version, cut short or changed.
    """
    if content[: len(MAGIC)] != MAGIC or len(content) < HEAD.size:
        raise ArtifactError("it is no .ecvx file")
    _, version, checksum, size, length, zero = HEAD.unpack_from(content)
    if version != VERSION:
        raise ArtifactError(f"it has version {version}, and this edgecvx reads version {VERSION}: export it again")
    if size != len(content) or size % ALIGNED:
        raise ArtifactError(f"it has {len(content)} bytes and says {size}: it was cut short or changed")
    if zlib.crc32(memoryview(content)[_CHECKED:]) != checksum:
        raise ArtifactError("its checksum is another one: it was damaged or changed")
    if zero or length % 4 or HEAD.size + length > size:
        raise ArtifactError(f"its description cannot have {length} bytes")
    return memoryview(content)[HEAD.size : HEAD.size + length]
