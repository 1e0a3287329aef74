"""A file of the native engine is read back as it was written, and what is none is refused in a sentence."""

from __future__ import annotations

import dataclasses
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ecvx_networks import random_description, random_file

from edgecvx.errors import ArtifactError, EdgecvxError, ExportError
from edgecvx.export.native.description import Description, Norm, Point, Tap
from edgecvx.export.native.frame import ALIGNED, HEAD
from edgecvx.export.native.parser import parse, read
from edgecvx.export.native.writer import write
from edgecvx.spec import PreprocessSpec, Task


def same(a: Any, b: Any) -> bool:
    """Whether two descriptions, or parts of them, are equal in every field and every number."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if dataclasses.is_dataclass(a):
        fields = [field.name for field in dataclasses.fields(a)]
        return type(a) is type(b) and all(same(getattr(a, name), getattr(b, name)) for name in fields)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return bool(np.float32(a) == np.float32(b))
    return type(a) is type(b) and bool(a == b)


def signed(content: bytes) -> bytes:
    """With the size and the checksum that go with what it holds."""
    body = struct.pack("<Q", len(content)) + content[24:]
    return content[:12] + struct.pack("<I", zlib.crc32(body)) + body


@pytest.mark.parametrize("seed", range(24))
def test_what_was_written_is_read_back(seed: int) -> None:
    described = random_description(seed)
    content = write(described)
    assert same(parse(content), described)
    assert write(parse(content)) == content


def test_a_comparison_sees_one_number() -> None:
    described = random_description(0)
    shift = described.stem_norm.shift.copy()
    shift[0] += np.float32(1e-6)
    assert not same(replace(described, stem_norm=replace(described.stem_norm, shift=shift)), described)
    assert not same(replace(described, name="other"), described)


def test_a_seed_gives_the_same_bytes() -> None:
    assert random_file(3) == random_file(3) != random_file(4)
    assert parse(random_file(3, task=Task.FEATURES)).task is Task.FEATURES


def test_the_frame_is_as_the_page_says() -> None:
    content = random_file(1)
    assert content[:8] == bytes.fromhex("89 45 43 56 58 0D 0A 1A")
    version, checksum, size, length, zero = struct.unpack_from("<IIQII", content, 8)
    assert (version, checksum, size, zero) == (1, zlib.crc32(content[16:]), len(content), 0)
    assert size % 64 == 0 and length % 4 == 0
    assert not any(content[32 + length : -(-(32 + length) // 64) * 64])
    assert struct.unpack_from("<I", content, 32) == (len(parse(content).name),)


def test_every_changed_byte_is_noticed() -> None:
    content = random_file(2, dims=(5, 5, 5, 5), depths=(1, 1, 1, 1))
    length = struct.unpack_from("<I", content, 24)[0]
    places = [*range(HEAD.size + length), *range(HEAD.size + length, len(content), 101), len(content) - 1]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 0x20
        with pytest.raises(ArtifactError):
            parse(bytes(changed))


def test_every_cut_is_noticed() -> None:
    content = random_file(2, dims=(5, 5, 5, 5), depths=(1, 1, 1, 1))
    for size in [*range(0, 200), *range(200, len(content), 997)]:
        with pytest.raises(ArtifactError):
            parse(content[:size])
    with pytest.raises(ArtifactError, match="cut short"):
        parse(content + bytes(64))


@pytest.mark.parametrize("word", [0, 1, 3, 64, 0x7F800000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("seed", [5, 6])
def test_a_forged_word_is_refused_or_makes_another_network(seed: int, word: int) -> None:
    """The checksum is right here: nothing but sentences may come of it, and what is read can be written."""
    content = random_file(seed, size=32, labelled=True)
    length = struct.unpack_from("<I", content, 24)[0]
    refused = 0
    for place in range(HEAD.size, HEAD.size + length, 4):
        forged = bytearray(content)
        struct.pack_into("<I", forged, place, word)
        try:
            assert write(parse(signed(bytes(forged))))
        except ArtifactError as error:
            refused += 1
            assert 10 < len(str(error)) < 5000
    assert refused > 20


@pytest.mark.parametrize("size", [0, 4, 100, 1 << 31, 0xFFFFFFFC, 2])
def test_a_forged_length_is_refused(size: int) -> None:
    content = bytearray(random_file(5))
    struct.pack_into("<I", content, 24, size)
    with pytest.raises(ArtifactError):
        parse(signed(bytes(content)))


def test_another_version_is_named() -> None:
    content = bytearray(random_file(0))
    struct.pack_into("<I", content, 8, 2)
    with pytest.raises(ArtifactError, match="version 2, and this edgecvx reads version 1: export it again"):
        parse(bytes(content))


def test_a_file_is_named_in_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "model.ecvx"
    with pytest.raises(ArtifactError, match=r"model\.ecvx cannot be read .*: No such file"):
        read(path)
    path.write_bytes(random_file(0)[:-64])
    with pytest.raises(ArtifactError, match=r"model\.ecvx cannot be read as a file of the native engine: it has"):
        read(path)


def test_what_a_tensor_leaves_out_is_the_same_for_all() -> None:
    """A scale that is nowhere is 1, a shift 0."""
    described = random_description(8)
    ones = Norm(epsilon=1e-6, scale=np.ones_like(described.stem_norm.scale), shift=0 * described.stem_norm.shift)
    content = bytearray(write(replace(described, stem_norm=ones)))
    after = struct.pack("<f", np.float32(1e-6))
    place = content.index(after, HEAD.size)
    content[place + 4 : place + 12] = bytes(8)
    assert same(parse(signed(bytes(content))).stem_norm, ones)


WRONG: dict[str, Callable[[Description], Description]] = {
    "the batch is 0, and has to be from 1 to 65536": lambda d: replace(d, batch=0),
    "image size 40 does not work": lambda d: replace(d, preprocess=PreprocessSpec(size=40)),
    "the number of classes is 0": lambda d: replace(d, classes=0),
    "2 labels do not go with": lambda d: replace(d, labels=("a", "b")),
    "the head is not that of a network for features": lambda d: replace(d, task=Task.FEATURES, classes=0, labels=()),
    "a network has 4 stages": lambda d: replace(d, stages=d.stages[:3]),
    "the number of blocks of a stage is 65": lambda d: replace(
        d, stages=(*d.stages[:3], replace(d.stages[3], blocks=65 * d.stages[3].blocks[:1]))
    ),
    "a depthwise kernel is 9x9": lambda d: replace(d, stages=(*d.stages[:3], replace(d.stages[3], kernel=9))),
    "the number of stem convolutions is 3": lambda d: replace(d, stem=3 * d.stem[:1]),
    "a stem of widths": lambda d: replace(d, stem=(replace(d.stem[0], outputs=3),)),
    "the padding of a stem convolution": lambda d: replace(d, stem=(replace(d.stem[0], pad=4),)),
    "leaves nothing for the last stage": lambda d: replace(d, stem=(replace(d.stem[0], stride=8),)),
    "the stage of 'x' is 0": lambda d: replace(d, taps=(Tap(name="x", point=Point.DOWNSAMPLE),)),
    "the block of 'x' is 64": lambda d: replace(d, taps=(Tap(name="x", point=Point.BLOCK, block=64),)),
    "the number of inner tensors": lambda d: replace(d, taps=4097 * (Tap(name="x", point=Point.STEM),)),
    "epsilon is nan": lambda d: replace(d, stem_norm=replace(d.stem_norm, epsilon=float("nan"))),
    "epsilon is 1e-60": lambda d: replace(d, stem_norm=replace(d.stem_norm, epsilon=1e-60)),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_network_the_engine_does_not_have_cannot_be_described(message: str) -> None:
    described = random_description(11, task=Task.CLASSIFY, size=32, stem=((4, 4, 0),), classes=10, labelled=False)
    with pytest.raises(EdgecvxError, match=message):
        WRONG[message](described)


def test_what_cannot_be_written_is_refused() -> None:
    described = random_description(11)
    for name in ("a\0b", "x" * 4097, "\ud800"):
        with pytest.raises(ExportError):
            write(replace(described, name=name))
    norm = replace(described.stem_norm, scale=np.ones(3, np.float32))
    with pytest.raises(ExportError, match=r"a tensor is float32 \(3,\) where float32 \(\d+,\) belongs"):
        write(replace(described, stem_norm=norm))
    doubles = replace(described.stem_norm, scale=described.stem_norm.scale.astype(np.float64))
    with pytest.raises(ExportError, match="float64"):
        write(replace(described, stem_norm=doubles))


def test_tensors_begin_where_processors_like_it() -> None:
    content = random_file(9)
    first = parse(content).stem[0].linear.weights.tobytes()
    assert content.index(first) % ALIGNED == 0 and len(content) % ALIGNED == 0
