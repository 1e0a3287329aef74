"""The reference executor: computes a saved Core ML package anywhere, one MIL operation at a time.

It is a check of the program's arithmetic, not of Apple's hardware: nobody can run Core ML off a Mac, but what a file
says can be read and computed. Two definitions:

- Each operation is computed in float32 from its arguments, and its result is rounded once, to the type the file
  declares for it. An FP16 program is therefore rounded to FP16 after every operation; the sums inside one are not.
- With ``fp16`` everything that is a float is rounded to FP16 besides, whatever the file declares: the constants, the
  input, and the values an FP16 program keeps in FP32. That is a Neural Engine, which has no FP32, given this program.

What is too large for FP16 becomes infinite, and NaN follows from it, as it would there. Numbers below the smallest
normal float16 are kept as they are; some hardware takes them for zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError, RuntimeFailedError
from edgecvx.export.coreml.program import Feature, Named, Op, Package, Type, read_package
from edgecvx.export.coreml.reader import read_ops as read_ops
from edgecvx.runtimes.mil import KIND
from edgecvx.runtimes.mil.half import half
from edgecvx.runtimes.mil.ops import CONSTANT_OPS, OPS
from edgecvx.spec import TensorSpec

Array = NDArray[Any]


class ReferenceSession:
    """A package opened for computing, as an engine opens a file.

    Args:
        path: The ``.mlpackage`` folder.
        fp16: Whether every float is rounded to FP16, whatever the file declares.

    Raises:
        RuntimeFailedError: The package is damaged, or holds an operation that is not in ``mil_ops``.
    """

    backend = KIND
    notes = ()
    memory = None
    arithmetic = None

    def __init__(self, path: Path, *, fp16: bool = False) -> None:
        try:
            self.package: Package = read_package(path)
        except ArtifactError as error:
            raise RuntimeFailedError(str(error)) from error
        self._name = path.name
        self._fp16 = fp16
        self.constants: dict[str, Any] = {}
        """By name, as operations take them; int8 weights dequantized once, here."""
        self._ops: list[Op] = []
        for op in self.package.ops:
            if op.kind == "const":
                self.constants[op.outputs[0][0]] = self._plain(op.value)
            elif op.kind in CONSTANT_OPS:
                self._step(op, self.constants)
            elif op.kind == "classify" or op.kind in OPS:
                self._ops.append(op)
            else:
                raise RuntimeFailedError(f"{path.name}: the reference executor does not know the operation {op.kind!r}")
        arrays = [f for f in self.package.inputs if f.kind in ("array", "image")]
        if len(arrays) != 1 or len(self.package.inputs) != 1:
            raise RuntimeFailedError(f"{path.name}: takes {len(self.package.inputs)} inputs; edgecvx's files take one")
        self._last_use = _last_uses(self._ops, {f.name for f in self.package.outputs})

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The picture (bytes, NHWC) or the array (NCHW) the program takes."""
        return tuple(_spec(f) for f in self.package.inputs)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The arrays the program returns; a classifier's label and probabilities are features, not arrays."""
        shapes = {name: kind for op in self._ops for name, kind in op.outputs}
        return tuple(_spec(f, shapes.get(f.name)) for f in self.package.outputs if f.kind == "array")

    def run(self, batch: Array) -> list[Array]:
        """Computes one batch; the arrays in the order of ``outputs``."""
        values = self.features(batch)
        return [values[spec.name] for spec in self.outputs]

    def features(self, batch: Array) -> dict[str, Any]:
        """Computes one batch; every output as an app would get it, a classifier's label and probabilities included."""
        (spec,) = self.inputs
        picture = self.package.inputs[0].kind == "image"
        values = dict(self.constants)
        values[spec.name] = self._plain(batch.transpose(0, 3, 1, 2).astype(np.float32) if picture else batch)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            for position, op in enumerate(self._ops):
                self._step(op, values)
                for name in self._last_use.get(position, ()):
                    values.pop(name, None)
        result = {}
        for feature in self.package.outputs:
            if feature.name not in values:
                raise RuntimeFailedError(f"{self._name}: the program does not compute its output {feature.name!r}")
            value = values[feature.name]
            result[feature.name] = value.astype(feature.dtype) if feature.kind == "array" else value
        return result

    def close(self) -> None:
        """Frees the weights."""
        self.constants.clear()
        self._ops.clear()

    def _step(self, op: Op, values: dict[str, Any]) -> None:
        """Computes one operation into ``values``."""
        name, declared = op.outputs[0]
        try:
            arguments = {
                key: values[value.name] if isinstance(value, Named) else self._plain(value)
                for key, value in op.inputs.items()
            }
            if op.kind == "classify":
                values.update(_classify(op, arguments))
                return
            result = np.asarray((OPS.get(op.kind) or CONSTANT_OPS[op.kind])(arguments))
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise RuntimeFailedError(f"{self._name}: {op.kind} {name!r} cannot be computed: {error!r}") from error
        if result.shape != declared.shape:
            raise RuntimeFailedError(
                f"{self._name}: {op.kind} {name!r} gives {list(result.shape)}, the program declares {declared.shape}"
            )
        if result.dtype.kind != np.dtype(declared.dtype).kind:
            raise RuntimeFailedError(
                f"{self._name}: {op.kind} {name!r} gives {result.dtype}, the program declares {declared.dtype}"
            )
        to_half = declared.dtype == "float16" and result.dtype == np.float32
        values[name] = half(result) if to_half else self._plain(result.astype(declared.dtype))

    def _plain(self, value: Any) -> Any:
        """A value as operations take it: floats as float32, once they were rounded; a scalar setting as itself."""
        if not isinstance(value, np.ndarray):
            return value
        if value.dtype.kind == "f":
            single = value.astype(np.float32)
            return half(single) if self._fp16 else single
        return value.item() if value.ndim == 0 else value


def _classify(op: Op, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The label and the probability of each class."""
    (label, _), (scores, _) = op.outputs
    probabilities, classes = np.ravel(arguments["probabilities"]), arguments["classes"]
    if len(probabilities) != len(classes):
        raise ValueError(f"{len(probabilities)} probabilities for {len(classes)} classes")
    return {
        label: classes[int(np.argmax(probabilities))],
        scores: dict(zip(classes, probabilities.tolist(), strict=True)),
    }


def _last_uses(ops: list[Op], kept: set[str]) -> dict[int, list[str]]:
    """Position of an operation -> the computed values nobody needs after it."""
    last: dict[str, int] = {}
    for position, op in enumerate(ops):
        for name, _ in op.outputs:
            last[name] = position
        for value in op.inputs.values():
            if isinstance(value, Named) and value.name in last:
                last[value.name] = position
    ends: dict[int, list[str]] = {}
    for name, position in last.items():
        if name not in kept:
            ends.setdefault(position, []).append(name)
    return ends


def _spec(feature: Feature, declared: Type | None = None) -> TensorSpec:
    """A feature as edgecvx speaks of tensors. A picture is ``[1, H, W, 3]`` bytes, as it lies in memory."""
    if feature.kind == "image":
        batch, channels, height, width = feature.shape
        return TensorSpec(name=feature.name, shape=(batch, height, width, channels), dtype="uint8", layout="NHWC")
    # Core ML may leave an output's shape out of the description; the program always has it.
    shape = feature.shape or (declared.shape if declared is not None else None) or ()
    if len(shape) not in (2, 4) or feature.dtype not in ("float32", "float16"):
        raise RuntimeFailedError(
            f"{feature.name}: a {feature.dtype} array of shape {list(shape)} is not in edgecvx's files"
        )
    dtype: Any = feature.dtype
    return TensorSpec(name=feature.name, shape=shape, dtype=dtype, layout="NCHW" if len(shape) == 4 else "NC")
