"""What every format is made of: its record, what its lowering gives back, and what one operation of its files is."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from edgecvx.errors import ArtifactError, EdgecvxError, ExportError
from edgecvx.graph.scheme import Scheme
from edgecvx.spec import Precision, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Everything that is asked of a format. Data only: a ``module:attribute`` is imported when it is used."""

    name: str
    """Of its folder here, and of the target that writes it as it is."""
    title: str
    kind: str
    """What kind of file it is, for the manifest: the name of the format whose files these are a form of, or its own."""
    suffixes: tuple[str, ...]
    """Of its files; the first is the one a runtime opens."""
    runtime: str
    """A name out of ``edgecvx.runtimes.RUNTIMES``."""
    proved_in: str = ""
    """The runtime its files are checked in where they are written, if that is not their own: a file that is compiled on
    its device runs in no other place."""
    check_note: str = ""
    """What a reader of a self-check's figures has to know about where that was."""
    options: str = "edgecvx.export.base:Options"
    """The class of the lowering's options."""
    check_request: str = ""
    """Refuses what no file of this format can be, before any work is done."""
    check_folder: str = ""
    """``(folder) -> None``: refuses a folder in which what lies ``beside`` would replace what is somebody else's."""
    beside: str = ""
    """``(folder) -> tuple[str, ...]``: writes what lies beside the artifacts of a folder, anew after each export;
    sentences for the user."""
    read_products: str = ""
    """``(path) -> tuple[Product, ...]``: the layers whose integer weights the runtime's kernels read in pairs; none
    where products are exact for any weights."""
    broken_rules: str = ""
    """``(path) -> tuple[str, ...]``: what in a file breaks a rule of its runtime's compiler; for ``inspect``."""
    extra: str
    """What to install to write it: ``pip install 'edgecvx[extra]'``."""
    tools: tuple[str, ...] = ()
    """Packages, beside those of the canonical graph, whose versions a file depends on."""
    floats: tuple[Precision, ...] = (Precision.FP32, Precision.FP16)
    schemes: Mapping[Precision, Scheme] = field(default_factory=lambda: MappingProxyType({}))
    """How each of its integer precisions is quantized."""
    logits_alone: str = ""
    """Why a classifier's file cannot return probabilities, and what makes them then; empty where it can."""
    note: str = ""
    """Where its files run."""

    def __post_init__(self) -> None:
        check_schemes(self.name, self.schemes)

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Every precision it can be written in."""
        return (*self.floats, *self.schemes)

    @property
    def lower(self) -> str:
        """``(graph, options) -> Lowered``."""
        return f"edgecvx.export.{self.name}.lower:lower"

    @property
    def read_ops(self) -> str:
        """``(path) -> tuple[OpInfo, ...]``: the operations of a file, in the order they are executed."""
        return f"edgecvx.export.{self.kind}.reader:read_ops"

    @property
    def inner_tensors(self) -> str:
        """``(path) -> Mapping[str, str]``: canonical name -> the file's own, where a canonical value can be found."""
        return f"edgecvx.export.{self.kind}.expose:inner_tensors"

    @property
    def expose(self) -> str:
        """``(path, names) -> Mapping[str, bytes]``: a file with these of its own tensors as further outputs."""
        return f"edgecvx.export.{self.kind}.expose:expose"

    @property
    def suffix(self) -> str:
        """Of the file a runtime opens."""
        return self.suffixes[0]

    @property
    def checked_in(self) -> str:
        """The runtime a file is checked in before it is handed over."""
        return self.proved_in or self.runtime


def check_schemes(name: str, schemes: Mapping[Precision, Scheme]) -> None:
    """Refuses a scheme that finds its scales at another time than its precision says."""
    for precision, scheme in schemes.items():
        if not precision.quantized or scheme.dynamic is precision.calibrated:
            raise EdgecvxError(f"{name} has a scheme for {precision.value} that does not go with it")


def load_attribute(reference: str) -> Any:
    """What a ``module:attribute`` reference names; the module is imported only here."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to write a file; a format that can be told more has more."""

    precision: Precision = Precision.FP32
    taps: tuple[str, ...] = ()
    """Canonical values to return too, after the task's outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """One artifact, still in memory.

    A key of ``files`` is what follows the artifact's stem: ``.tflite``, or ``.xml`` and ``.bin``, or the files of an
    ``.mlpackage`` folder (``.mlpackage/Manifest.json``). The first key names the file a runtime opens.
    """

    files: Mapping[str, bytes]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    passes: tuple[str, ...] = ()
    """What the lowering applied, for the manifest."""
    kept_float: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Op -> why it stays in a higher precision than asked for."""

    def __post_init__(self) -> None:
        for suffix, content in self.files.items():
            if not suffix.startswith(".") or ".." in suffix or not content:
                raise ExportError(f"a lowering produced an unusable file {suffix!r} of {len(content)} bytes")
        if not self.files or len(self.inputs) != 1 or not self.outputs:
            raise ExportError("a lowering needs a file, one input and an output")


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
    bits: int | None = None
    """Of the integers that are multiplied there, None for floats; the output may be float in any case."""

    def __post_init__(self) -> None:
        if self.const_bytes < 0 or self.macs < 0:
            raise ArtifactError(f"operation {self.name!r} has a negative size: {self.const_bytes} B, {self.macs} MACs")
