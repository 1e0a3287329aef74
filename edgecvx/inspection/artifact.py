"""What is in a file: its ops as the file has them, counted and weighed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecvx.board.engines import TELLING
from edgecvx.errors import EdgecvxError, missing_package
from edgecvx.export.base import Format, OpInfo, load_attribute
from edgecvx.files import read_artifact
from edgecvx.graph.pairs import PairCheck, check_pairs
from edgecvx.manifest import Manifest
from edgecvx.native.platforms import is_for_platform
from edgecvx.runtimes import open_session
from edgecvx.targets import get_target


@dataclass(frozen=True, slots=True, kw_only=True)
class OpGroup:
    """All ops of one kind and element type."""

    op: str
    dtype: str
    count: int
    const_bytes: int
    macs: int
    bits: int | None = None
    """Of the integers that are multiplied; None for floats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """An artifact, its files verified, and its ops read from the file itself."""

    path: Path
    manifest: Manifest
    groups: tuple[OpGroup, ...]
    """Heaviest first."""
    total_bytes: int
    rules_broken: tuple[str, ...] | None = None
    """What in the file breaks a rule of its runtime's compiler, in words; None where the target has no such rules."""
    pairs: PairCheck | None = None
    """Whether every processor can add what the weights are multiplied with; None where no kernel adds in int16."""

    @property
    def network_bytes(self) -> int:
        """Without the engine, which is as large for every network."""
        return sum(entry.bytes for entry in self.manifest.files if not is_for_platform(entry.path))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one run."""
        return sum(group.macs for group in self.groups)

    @property
    def integer_share(self) -> float:
        """The part of them that is done on integers."""
        return sum(group.macs for group in self.groups if group.bits) / max(self.macs, 1)


def inspect(path: Path) -> Inspection:
    """Reads an artifact without running it.

    Raises:
        ArtifactError: The artifact or its manifest is missing or damaged.
        RuntimeUnavailableError: What reads this format is not installed.
    """
    artifact, manifest = read_artifact(path)
    format = get_target(manifest.target).format
    read_ops = _reader(format)
    return Inspection(
        path=artifact,
        manifest=manifest,
        groups=group_ops(read_ops(artifact)),
        total_bytes=sum(entry.bytes for entry in manifest.files),
        rules_broken=load_attribute(format.broken_rules)(artifact) if format.broken_rules else None,
        pairs=pairs_in(format, artifact) if manifest.precision.quantized else None,
    )


def held(found: Inspection) -> Mapping[str, int] | None:
    """Bytes that its runtime holds to run a file in one thread, by what they are for.

    None where the runtime does not tell, or cannot open the file here. To ask it is to open the file, which is done in
    a process of its own.
    """
    if found.manifest.runtime not in TELLING:
        return None
    try:
        with contextlib.closing(open_session(found.manifest.runtime, found.path, threads=1)) as session:
            told: Mapping[str, int] | None = getattr(session, "memory", None)
            return told
    except EdgecvxError:
        return None


def pairs_in(format: Format, artifact: Path) -> PairCheck | None:
    """A look at every pair of a file's int8 weights; None for a format whose runtime makes no pairs."""
    return check_pairs(load_attribute(format.read_products)(artifact)) if format.read_products else None


def _reader(format: Format) -> Callable[[Path], tuple[OpInfo, ...]]:
    """What lists the ops of a format's files; on a board not every format's packages are there."""
    try:
        read_ops: Callable[[Path], tuple[OpInfo, ...]] = load_attribute(format.read_ops)
    except ModuleNotFoundError as error:
        raise missing_package(f"{error.name}, which reads {format.suffix} files,", format.extra) from error
    return read_ops


def group_ops(ops: Iterable[OpInfo]) -> tuple[OpGroup, ...]:
    """Ops summed by kind, element type and arithmetic; the heaviest first, then the most frequent."""
    sums: dict[tuple[str, str, int | None], tuple[int, int, int]] = {}
    for op in ops:
        key = (op.op, op.dtype, op.bits)
        count, const_bytes, macs = sums.get(key, (0, 0, 0))
        sums[key] = (count + 1, const_bytes + op.const_bytes, macs + op.macs)
    groups = [
        OpGroup(op=op, dtype=dtype, bits=bits, count=count, const_bytes=const_bytes, macs=macs)
        for (op, dtype, bits), (count, const_bytes, macs) in sums.items()
    ]
    return tuple(sorted(groups, key=lambda g: (-g.macs, -g.count, g.op, g.dtype, g.bits or 0)))
