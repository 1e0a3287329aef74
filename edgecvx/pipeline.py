"""From a checkpoint to proven files: the only module that sees every layer.

``export`` shares everything up to the lowering between its targets: the checkpoint, the reference outputs, the folds
and the canonical graph are made once.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecvx import __version__
from edgecvx.data.dataset import DEMO
from edgecvx.data.preprocess import as_input, normalize
from edgecvx.data.probe import probe_pictures
from edgecvx.errors import UsageError, missing_package, one_of
from edgecvx.manifest import Manifest, Quantized, SelfCheck, entries_of, publish, staged, write_atomically
from edgecvx.measure.selfcheck import closeness, self_check
from edgecvx.quantize.plan import dump_plan
from edgecvx.quantize.request import USUAL_REFINEMENTS, PlanRequest
from edgecvx.runtimes import availability, open_session, runtime_module
from edgecvx.spec import CALIBRATION_PICTURES, InputKind, ModelSpec, Precision, PreprocessSpec, Task
from edgecvx.targets import get_target
from edgecvx.targets.base import Target, load_attribute

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecvx.export.lowered import Lowered
    from edgecvx.models.convnext import ConvNeXt
    from edgecvx.quantize.estimators import Estimator
    from edgecvx.quantize.plan import Engine
    from edgecvx.quantize.planning import Planned
    from edgecvx.quantize.sources import Source

Array = NDArray[Any]
E = TypeVar("E", bound=enum.Enum)

CLOSE = 0.98
"""Cosine between a file's output and FP32's, on its own calibration pictures, below which the user is warned: good INT8
files of this network are above 0.998."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a long call is: shown, never acted upon."""

    index: int
    total: int
    name: str
    part: float = 0.0
    """How much of this step is done, where it is a long one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One artifact that was written."""

    target: str
    path: Path
    manifest: Manifest
    seconds: float
    """For this target alone: lowering, self-check and writing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """Everything one call wrote, and what the user has to be told."""

    artifacts: tuple[Exported, ...]
    warnings: tuple[str, ...]


def export(
    model: str | Path,
    *,
    target: str | Sequence[str],
    precision: Precision | str = Precision.FP32,
    weights: str = "auto",
    task: Task | str = Task.CLASSIFY,
    image_size: int | None = None,
    batch: int = 1,
    input_kind: InputKind | str = InputKind.FLOAT,
    labels: str | Path | None = None,
    out: str | Path = "",
    dump: str | Path | None = None,
    seed: int = 0,
    folds: Sequence[str] | None = None,
    calib: str | Path = "demo",
    calib_samples: int = CALIBRATION_PICTURES,
    plan: str | Path | None = None,
    quantizer: Engine = "edgecvx",
    estimator: Estimator = "auto",
    refinements: Sequence[str] = USUAL_REFINEMENTS,
    on_step: Callable[[Step], None] | None = None,
) -> ExportResult:
    """Writes a model for one or more targets, each file proved against FP32 PyTorch before it is handed over.

    Args:
        model: A variant, a timm name with tag, a checkpoint file, or a transformers folder or hub id.
        target: One target or several.
        precision: Of the files.
        weights: ``auto``, ``imagenet``, ``demo``, ``random``, or a checkpoint file for the named variant.
        task: What the files return.
        image_size: Height and width of the input; the checkpoint's own by default.
        batch: Pictures per run.
        input_kind: Normalized floats, or the bytes of the picture.
        labels: A file of class names.
        out: The folder for the artifacts.
        dump: A folder for the canonical graph, and each target's quantized one, for those who want to look.
        seed: For ``random`` weights.
        folds: Exact folds to apply (``edgecvx.export.fold.FOLDS``); all of them by default.
        calib: For ``int8``: a folder of pictures like those the network will see, or ``demo`` for drawn ones.
        calib_samples: How many of them.
        plan: A plan of an earlier export, used instead of calibrating.
        quantizer: Who chooses the scales: ``edgecvx`` or ``nncf``.
        estimator: How ``edgecvx`` chooses ranges: ``minmax``, ``percentile``, ``mse`` or ``auto``.
        refinements: What it does beyond that (``edgecvx.quantize.request.REFINEMENTS``).
        on_step: Called at the beginning of each step.

    Raises:
        EdgecvxError: With what was wrong and what to do; nothing half-written is left behind.
    """
    targets = _targets([target] if isinstance(target, str) else target)
    precision, task = _chosen("precision", precision, Precision), _chosen("task", task, Task)
    input_kind = _chosen("input", input_kind, InputKind)
    out = Path(out)
    dump = None if dump is None else Path(dump)
    labels = None if labels is None else Path(labels)
    for t in targets:
        t.check_precision(precision)
        if t.checks:
            load_attribute(t.checks)(_options(t, precision), input_kind=input_kind, batch=batch)
    if batch < 1:
        raise UsageError(f"batch {batch} does not work: it must be at least 1")
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed {seed} does not work: it must be from 0 to {2**63 - 1}")
    for folder in (out, dump):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder} is a file: the files of an export need a folder")
    request = PlanRequest(
        calib=calib if calib == DEMO else Path(calib),
        samples=calib_samples,
        plan=None if plan is None else Path(plan),
        engine=quantizer,
        estimator=estimator,
        refinements=tuple(refinements),
    )
    request.check_heard(precision)
    calibrates = precision is Precision.INT8 and request.plan is None
    steps = _Steps(total=2 + calibrates + 2 * len(targets), tell=on_step)

    steps.next("reading the checkpoint")
    _need_torch()
    from edgecvx.models.load import load_model

    loaded = load_model(model, weights=weights, image_size=image_size, labels=labels, seed=seed)
    spec = loaded.spec
    if task is Task.CLASSIFY and not spec.num_classes:
        raise UsageError(f"{spec.weights.ref} has no classifier: ask for --task features or --task embed")
    order = _Order(spec=spec, task=task, precision=precision, input_kind=input_kind, batch=batch)
    pictures = probe_pictures(spec.preprocess.size)

    steps.next("folding and writing the canonical graph")
    expected = _reference(loaded.module, pictures, spec.preprocess, task)
    graph, folded = _canonical(loaded.module, order, folds)
    if dump is not None:
        write_atomically(dump / f"{order.stem}.canonical.onnx", _serialized(graph))

    planned = None
    if precision is Precision.INT8:
        from edgecvx.quantize.planning import plan_quantization

        if calibrates:
            steps.next(f"calibrating on {request.pictures}")
        planned = plan_quantization(graph, spec, input_kind, folded, request, on_part=steps.part)
        if calibrates:
            write_atomically(out / f"{order.stem}.plan.json", dump_plan(planned.plan))
    from edgecvx.quantize.sources import Sources

    sources = Sources(graph, order.spec.preprocess, pictures, expected, planned)

    artifacts, warnings = [], [*loaded.warnings, *(planned.warnings if planned else ())]
    for t in targets:
        began = time.perf_counter()
        steps.next(f"{t.name}: lowering")
        source = sources.of(t.schemes.get(precision))
        if dump is not None and precision.quantized:
            write_atomically(dump / f"{order.stem}.{t.name}.quantized.onnx", _serialized(source.graph))
        lowered: Lowered = load_attribute(t.lower)(source.graph, _options(t, precision))
        steps.next(f"{t.name}: self-check and writing")
        name = order.stem + t.suffix
        with staged(out, order.stem, lowered.files) as folder:
            check, cosine = _check(t, folder / name, lowered, order, pictures, source)
            how = _how(t, order, graph, planned, cosine) if precision.quantized else None
            manifest = _manifest(t, order, lowered, folded, check, how)
            path = publish(folder, out, manifest, name)
        if cosine is not None and cosine < CLOSE:
            warnings.append(
                f"{name} gives other answers than FP32 on its own calibration pictures (cosine {cosine:.3f}): "
                "look at it with edgecvx validate --per-layer before you use it"
            )
        artifacts.append(Exported(target=t.name, path=path, manifest=manifest, seconds=time.perf_counter() - began))
    return ExportResult(artifacts=tuple(artifacts), warnings=tuple(warnings))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What every file of one call has in common."""

    spec: ModelSpec
    task: Task
    precision: Precision
    input_kind: InputKind
    batch: int

    @property
    def stem(self) -> str:
        """``convnextv2_femto.demo-224-fp32``; what is unusual stands in it, so that no file hides another."""
        unusual = [self.task.value] * (self.task is not Task.CLASSIFY)
        unusual += [self.input_kind.value] * (self.input_kind is not InputKind.FLOAT)
        unusual += [f"b{self.batch}"] * (self.batch != 1)
        return "-".join([self.spec.name, str(self.spec.preprocess.size), *unusual, self.precision.value])


class _Steps:
    """Counts the steps of a call for whoever shows them."""

    def __init__(self, total: int, tell: Callable[[Step], None] | None) -> None:
        self._index, self._total, self._tell = 0, total, tell
        self._name = ""

    def next(self, name: str) -> None:
        self._name = name
        if self._tell is not None:
            self._tell(Step(index=self._index, total=self._total, name=name))
        self._index += 1

    def part(self, part: float) -> None:
        """How much of the current step is done."""
        if self._tell is not None:
            self._tell(Step(index=self._index - 1, total=self._total, name=self._name, part=part))


def _chosen(what: str, value: E | str, kind: type[E]) -> E:
    """A choice that may have been made by its name."""
    try:
        return kind(value)
    except ValueError:
        raise one_of(what, str(value), [str(member.value) for member in kind]) from None


def _targets(names: Sequence[str]) -> list[Target]:
    """The targets, checked before any work is done."""
    targets = [get_target(name) for name in names]
    if not targets:
        raise UsageError("no target given: see 'edgecvx targets'")
    by_suffix: dict[str, str] = {}
    for t in targets:
        if (other := by_suffix.setdefault(t.suffix, t.name)) != t.name:
            raise UsageError(
                f"targets {other} and {t.name} write a file of the same name: export them into two folders"
            )
        if (found := availability(t.runtime)).version is None:
            raise missing_package(f"{found.hint.split(' is not')[0]}, which target {t.name} needs,", t.extra)
    return list({t.name: t for t in targets}.values())


def _need_torch() -> None:
    try:
        import onnx  # noqa: F401
        import onnx_ir  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package(f"{error.name}, which export needs,", "onnx") from error


def _reference(module: ConvNeXt, pictures: Array, preprocess: PreprocessSpec, task: Task) -> list[Array]:
    """What the unfolded network returns for the probe pictures, in float32."""
    import torch

    from edgecvx.models.convnext import outputs_of

    images = normalize(pictures, preprocess).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        outputs = outputs_of(module, torch.from_numpy(np.ascontiguousarray(images)), task.value)
    return [np.asarray(output.numpy()) for output in outputs]


def _canonical(module: ConvNeXt, order: _Order, folds: Sequence[str] | None) -> tuple[ir.Model, tuple[str, ...]]:
    """The canonical graph, and the names of the folds in it."""
    from edgecvx.export.canonical import build_canonical, metadata_of
    from edgecvx.export.fold import fold, fold_uint8_input

    folded = fold(module, folds, task=order.task)
    network, applied = folded.module, folded.applied
    if order.input_kind is InputKind.UINT8:
        network, applied = fold_uint8_input(network, order.spec.preprocess), (*applied, "uint8-input")
    graph = build_canonical(
        network,
        task=order.task,
        image_size=order.spec.preprocess.size,
        batch=order.batch,
        input_kind=order.input_kind,
        metadata=metadata_of(order.spec, order.task),
    )
    return graph, applied


def _options(target: Target, precision: Precision) -> Any:
    return load_attribute(target.options)(precision=precision, **target.settings)


def _check(
    target: Target,
    path: Path,
    lowered: Lowered,
    order: _Order,
    pictures: Array,
    source: Source,
) -> tuple[SelfCheck, float | None]:
    """Opens the staged file in its own runtime; compares it with its reference, and calibration pictures with FP32."""
    session = open_session(target.runtime, path, threads=1)
    try:
        check = self_check(
            session,
            runtime=f"{target.runtime} {availability(target.runtime).version}",
            outputs=lowered.outputs,
            pictures=as_input(pictures, order.spec.preprocess, lowered.inputs[0]),
            expected=source.expected,
            precision=order.precision,
            against=source.against,
            note=str(getattr(runtime_module(target.runtime), "CHECK_NOTE", "")),
        )
        if not source.kept:
            return check, None
        kept = np.stack(source.kept)
        if lowered.inputs[0].layout == "NHWC":
            kept = np.ascontiguousarray(kept.transpose(0, 2, 3, 1))
        return check, closeness(session, lowered.outputs, kept, source.exact)
    finally:
        session.close()


def _how(target: Target, order: _Order, graph: ir.Model, planned: Planned | None, cosine: float | None) -> Quantized:
    """What the manifest says about the quantization; ``graph`` is the float one."""
    scheme = target.schemes[order.precision].told()
    weights = sum(v.const_value.nbytes for v in graph.graph.initializers.values() if v.const_value is not None)
    if planned is None:
        return Quantized(engine="the runtime", scheme=scheme, fp32_bytes=weights)
    plan = planned.plan
    return Quantized(
        engine=plan.engine,
        scheme=scheme,
        fp32_bytes=weights,
        plan_sha256=plan.sha256,
        calibration=plan.calibration,
        agreement=None if plan.agreement is None else round(plan.agreement.worst, 3),
        cosine=None if cosine is None else round(cosine, 4),
    )


def _manifest(
    target: Target,
    order: _Order,
    lowered: Lowered,
    folds: tuple[str, ...],
    check: SelfCheck,
    quantized: Quantized | None,
) -> Manifest:
    classifies = order.task is Task.CLASSIFY
    return Manifest(
        model=order.spec if classifies else dataclasses.replace(order.spec, labels=None),
        task=order.task,
        target=target.name,
        format=target.format,
        runtime=target.runtime,
        precision=order.precision,
        input_kind=order.input_kind,
        input=lowered.inputs[0],
        outputs=lowered.outputs,
        folds=folds,
        passes=lowered.passes,
        kept_float=lowered.kept_float,
        tools=_tools(target),
        self_check=check,
        quantized=quantized,
        files=entries_of(order.stem, lowered.files),
    )


def _tools(target: Target) -> Mapping[str, str]:
    """The versions a file depends on."""
    packages = ["torch", "onnx", "onnx_ir"]
    packages += {"openvino": ["openvino"], "coreml": ["coremltools"]}.get(target.format, [])
    return {"edgecvx": __version__, **{name: importlib.metadata.version(name) for name in packages}}


def _serialized(graph: ir.Model) -> bytes:
    import onnx_ir as ir

    return bytes(ir.to_proto(graph).SerializeToString(deterministic=True))
