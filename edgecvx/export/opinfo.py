"""What one operation of a written file is; every format's ``read_ops`` gives a tuple of these, in execution order."""

from __future__ import annotations

from dataclasses import dataclass

from edgecvx.errors import ArtifactError


@dataclass(frozen=True, slots=True, kw_only=True)
class OpInfo:
    """One operation as the file has it, before any runtime rewrites it."""

    op: str
    """The format's own name: ``Conv``, ``DEPTHWISE_CONV_2D``, ``Convolution``, ``conv``."""
    name: str
    """The name of its first output, or of the operation where the format names those."""
    dtype: str
    """Element type of its first output: ``float32``, ``float16``, ``int8``, ``uint8``, ``int32`` …"""
    shape: tuple[int, ...]
    """Shape of its first output, in the file's own layout."""
    const_bytes: int = 0
    """Bytes of the constants it reads; a constant that several operations share counts at the first."""
    macs: int = 0
    """Multiply-accumulates: convolutions and matrix products, 0 for the rest."""
    int8: bool = False
    """Whether those are done on int8 (or uint8) numbers; its output may still be float."""

    def __post_init__(self) -> None:
        if self.const_bytes < 0 or self.macs < 0:
            raise ArtifactError(f"operation {self.name!r} has a negative size: {self.const_bytes} B, {self.macs} MACs")
