"""What a target is: the name a user types, and everything that follows from it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.quantize.scheme import Scheme
from edgecvx.spec import Precision

Format = Literal["onnx", "openvino", "tflite", "coreml"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A format or a device = a file format + a runtime + the lowering's options. Data only."""

    name: str
    title: str
    format: Format
    suffix: str
    """Of the file a runtime opens."""
    runtime: str
    """A name out of ``edgecvx.runtimes.RUNTIMES``."""
    proved_in: str = ""
    """The runtime its files are checked in where they are written, if that is not their own: a file that is compiled on
    its device runs in no other place."""
    lower: str
    """``module:function`` of the lowering."""
    options: str
    """``module:class`` of its options."""
    reads_ops: str
    """``module:function`` that lists a file's ops."""
    reads_products: str = ""
    """``module:function`` that lists the layers whose int8 weights the runtime's kernels read in pairs; none where
    products are exact for any weights."""
    extra: str
    """What to install: ``pip install 'edgecvx[extra]'``."""
    floats: tuple[Precision, ...] = (Precision.FP32, Precision.FP16)
    schemes: Mapping[Precision, Scheme] = field(default_factory=lambda: MappingProxyType({}))
    """How each of its integer precisions is quantized."""
    checks: str = ""
    """``module:function`` that refuses what no file of this target can be, before any work is done."""
    rules: str = ""
    """``module:function`` that says what in a file breaks a rule of its runtime's compiler; for ``inspect``."""
    threads: int | None = None
    """How many threads are recommended on this device; None leaves it to the runtime."""
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """What differs from the lowering's own defaults."""
    note: str = ""

    def __post_init__(self) -> None:
        for precision, scheme in self.schemes.items():
            if not precision.quantized or scheme.dynamic is not (precision is Precision.INT8_DYNAMIC):
                raise EdgecvxError(f"target {self.name} has a scheme for {precision.value} that does not go with it")

    @property
    def checked_in(self) -> str:
        """The runtime a file is checked in before it is handed over."""
        return self.proved_in or self.runtime

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """Every precision this target has files of."""
        return (*self.floats, *self.schemes)

    def check_precision(self, precision: Precision) -> None:
        """Refuses a precision this target has no file for; nothing is replaced by another one."""
        if precision not in self.precisions:
            known = ", ".join(p.value for p in self.precisions)
            raise UsageError(f"target {self.name} has no {precision.value}: it has {known}")


def load_attribute(reference: str) -> Any:
    """What a ``module:attribute`` reference names; the module is imported only here."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
