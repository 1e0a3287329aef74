"""From a checkpoint to proven files: the only module that sees every layer.

``export`` shares everything up to the lowering between its targets: the checkpoint, the reference outputs, the folds
and the canonical graph are made once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import importlib.metadata
import importlib.util
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecvx import __version__
from edgecvx.board.device.processors import this_processor
from edgecvx.data.preprocess import as_input
from edgecvx.data.probe import probe_pictures
from edgecvx.errors import Page, SelfCheckError, UsageError, about, missing_package, one_of
from edgecvx.export.base import load_attribute
from edgecvx.files import entries_of, publish, staged, write_atomically
from edgecvx.inspection.artifact import pairs_in
from edgecvx.manifest import Manifest, Quantized, SelfCheck
from edgecvx.native.build import check_platforms
from edgecvx.native.platforms import this_platform
from edgecvx.proof.selfcheck import Closeness, closeness, noise, self_check
from edgecvx.quantize.plan import HOLDS, dump_plan
from edgecvx.quantize.request import USUAL_REFINEMENTS, PlanRequest
from edgecvx.results.figures import megabytes
from edgecvx.results.shown import as_printed
from edgecvx.runtimes import availability, open_session
from edgecvx.runtimes.base import run_batches
from edgecvx.runtimes.engine import check_note
from edgecvx.runtimes.proof import prove
from edgecvx.spec import CALIBRATION_PICTURES, InputKind, ModelSpec, OutputKind, Precision, PreprocessSpec, Task
from edgecvx.targets import get_target
from edgecvx.targets.base import Target
from edgecvx.targets.gains import gains_nothing

if TYPE_CHECKING:
    import onnx_ir as ir
    from torch import nn

    from edgecvx.board.proof import Proof
    from edgecvx.export.base import Lowered
    from edgecvx.models.convnext import ConvNeXt
    from edgecvx.models.labels import Labels
    from edgecvx.models.load import LoadedModel
    from edgecvx.quantize.observe.estimators import Estimator
    from edgecvx.quantize.plan import Engine
    from edgecvx.quantize.planning import Planned
    from edgecvx.quantize.sources import GraphSource, GraphSources

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
    notes: tuple[str, ...] = ()
    """What a user should know of what lies beside it."""

    _repr_pretty_ = as_printed

    def __str__(self) -> str:
        """The file, its size, and how far its answers are from what they should be, as a part of their range."""
        check, size = self.manifest.self_check, sum(entry.bytes for entry in self.manifest.files)
        proof = "its plan" if check.against == "plan" else "FP32 PyTorch"
        return f"{self.path}: {megabytes(size)}, error {check.max_error:.1e} against {proof}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """Everything one call wrote, and what the user should know."""

    artifacts: tuple[Exported, ...]
    warnings: tuple[str, ...]

    _repr_pretty_ = as_printed

    def __str__(self) -> str:
        notes = (note for a in self.artifacts for note in (a.manifest.self_check.note, *a.notes) if note)
        warnings = (f"warning: {warning}" for warning in self.warnings)
        return "\n".join([*map(str, self.artifacts), *dict.fromkeys(notes), *warnings])


def export(
    model: str | Path | nn.Module,
    *,
    target: str | Sequence[str],
    precision: Precision | str = Precision.FP32,
    weights: str = "auto",
    task: Task | str = Task.CLASSIFY,
    image_size: int | None = None,
    batch: int = 1,
    input_kind: InputKind | str = InputKind.FLOAT,
    output: OutputKind | str = OutputKind.LOGITS,
    labels: Labels | None = None,
    preprocess: object | None = None,
    name: str | None = None,
    platforms: str | Sequence[str] = (),
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
        model: A variant, a timm name with tag, a checkpoint file, a transformers folder or hub id, or a module in
            memory: timm's or transformers' ConvNeXt, or one with their tensors. It is left as it is.
        target: One target or several: a format (``onnx``, ``openvino``, ``tflite``, ``coreml``, ``tensorrt``,
            ``native``, ``web``) or a device (``edgecvx targets`` lists them).
        precision: Of the files: ``fp32``, ``fp16``, ``int8`` (see ``calib``) or ``int8-dynamic``.
        weights: ``auto``, ``imagenet``, ``demo``, ``random``, or a checkpoint file for the named variant.
        task: What the files return: ``classify``, ``features`` or ``embed``.
        image_size: Height and width of the input; the checkpoint's own by default.
        batch: Pictures per run.
        input_kind: ``float``, which is normalized, or ``uint8``, the bytes of the picture.
        output: What a classifier's files return: ``logits`` or ``probabilities``.
        labels: The class names, as a list, a table from id to name, or a file; a module's configuration may bring them.
        preprocess: How pictures are prepared, where a file or module does not say: transformers' image processor,
            timm's ``resolve_model_data_config(model)``, or a ``PreprocessSpec``.
        name: What to call a module in memory, in the names of its files.
        platforms: For targets ``native`` and ``web``: where their files are to run (``edgecvx.native.platforms``); by
            default here, and in browsers.
        out: The folder for the artifacts.
        dump: A folder for the canonical graph, and each target's quantized one, for those who want to look.
        seed: For ``random`` weights.
        folds: Exact folds to apply (``edgecvx.graph.fold.FOLDS``); all of them by default.
        calib: For ``int8``: a folder of pictures like those the network will see, or ``demo`` for drawn ones.
        calib_samples: How many of them.
        plan: A plan of an earlier export, used instead of calibrating.
        quantizer: Who chooses the scales: ``edgecvx`` or ``nncf``.
        estimator: How ``edgecvx`` chooses ranges: ``minmax``, ``percentile``, ``mse`` or ``auto``.
        refinements: What it does beyond that (``edgecvx.quantize.request.REFINEMENTS``).
        on_step: Called at the beginning of each step, and on the way through a long one.

    Raises:
        EdgecvxError: With what was wrong and what to do; nothing half-written is left behind.
    """
    asked = _Request(
        targets=_targets([target] if isinstance(target, str) else target),
        precision=_chosen("precision", precision, Precision),
        task=_chosen("task", task, Task),
        input_kind=_chosen("input", input_kind, InputKind),
        output=_chosen("output", output, OutputKind),
        batch=batch,
        seed=seed,
        platforms=tuple(dict.fromkeys([platforms] if isinstance(platforms, str) else platforms)),
        out=Path(out),
        dump=None if dump is None else Path(dump),
        plan=PlanRequest(
            calib=calib,
            samples=calib_samples,
            plan=None if plan is None else Path(plan),
            engine=quantizer,
            estimator=estimator,
            refinements=tuple(refinements),
        ),
    )
    asked.check()
    steps = _Steps(total=2 + asked.calibrates + 2 * len(asked.targets), tell=on_step)

    steps.next("reading the checkpoint")
    loaded = _load(
        asked, model, weights=weights, image_size=image_size, labels=labels, preprocess=preprocess, name=name
    )
    steps.next("folding and writing the canonical graph")
    network = _network(asked, loaded, folds)
    planned = _plan(asked, network, steps) if asked.precision.calibrated else None
    from edgecvx.quantize.sources import GraphSources

    sources = GraphSources(
        network.graph, network.spec.preprocess, network.probes, network.expected, planned, asked.output
    )
    artifacts = tuple(_write(asked, t, network, sources, steps) for t in asked.targets)
    kind = this_processor().kind
    useless = (gains_nothing(t.name, asked.precision, kind) for t in asked.targets)
    doubts = (*map(_doubt, artifacts), *useless)
    warnings = (*loaded.warnings, *(_warnings(planned) if planned else ()), *filter(None, doubts))
    return ExportResult(artifacts=artifacts, warnings=warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the user asked for; once ``check`` has passed, work may begin."""

    targets: tuple[Target, ...]
    precision: Precision
    task: Task
    input_kind: InputKind
    output: OutputKind
    batch: int
    seed: int
    platforms: tuple[str, ...]
    out: Path
    dump: Path | None
    plan: PlanRequest

    @property
    def calibrates(self) -> bool:
        """Whether pictures are looked at, because no plan was given that needs none."""
        return self.precision.calibrated and self.plan.plan is None

    def check(self) -> None:
        """Refuses what no file can be, before any work is done."""
        self._check_platforms()
        self._check_output()
        for target in self.targets:
            target.check_precision(self.precision)
            if target.format.check_request:
                options = self.options(target)
                load_attribute(target.format.check_request)(options, input_kind=self.input_kind, batch=self.batch)
        if self.batch < 1:
            raise UsageError(f"batch {self.batch} does not work: it must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"seed {self.seed} does not work: it must be from 0 to {2**63 - 1}")
        for folder in (self.out, self.dump):
            if folder is not None and folder.exists() and not folder.is_dir():
                raise UsageError(f"{folder} is a file: the files of an export need a folder")
            if folder is not None and not _is_writable(folder):
                raise UsageError(f"nothing can be written into {folder}: choose another folder, or change its rights")
        for check in filter(None, (target.format.check_folder for target in self.targets)):
            load_attribute(check)(self.out)
        self.plan.check_applies_to(self.precision)
        if self.plan.engine == "nncf" and importlib.util.find_spec("nncf") is None:
            raise missing_package("NNCF", "nncf")

    def _check_platforms(self) -> None:
        """Refuses platforms there are none of, or that no target has, and what cannot be built for one here."""
        having = [target for target in self.targets if target.has_platforms]
        if self.platforms and not having:
            names = " and ".join(target.name for target in self.targets)
            none = "has none" if len(self.targets) == 1 else "have none"
            raise UsageError(f"--platform {','.join(self.platforms)} is for targets native and web: {names} {none}")
        for target in having:
            # Also for this machine, where the file is proved.
            check_platforms((*self.options(target).platforms, this_platform().name))

    @about(Page.OUTPUTS)
    def _check_output(self) -> None:
        """Refuses probabilities of what gives none."""
        if self.output is OutputKind.LOGITS:
            return
        if self.task is not Task.CLASSIFY:
            raise UsageError(f"--output {self.output.value} is for --task classify: {self.task.value} has no classes")
        for target in self.targets:
            if target.format.logits_alone:
                raise UsageError(
                    f"target {target.name} returns logits: {target.format.logits_alone}; leave --output out, "
                    "edgecvx predict and edgecvx.load make probabilities of them"
                )

    def options(self, target: Target) -> Any:
        """The options of a target's lowering."""
        return target.options(self.precision, self.platforms)

    def stem(self, spec: ModelSpec) -> str:
        """``convnextv2_femto.demo-224-fp32``; what is unusual stands in it, so that no file hides another."""
        unusual = [self.task.value] * (self.task is not Task.CLASSIFY)
        unusual += [self.output.value] * (self.output is not OutputKind.LOGITS)
        unusual += [self.input_kind.value] * (self.input_kind is not InputKind.FLOAT)
        unusual += [f"b{self.batch}"] * (self.batch != 1)
        return "-".join([spec.name, str(spec.preprocess.size), *unusual, self.precision.value])


def _is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or the folder itself in the nearest one above it that is there."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return os.access(there, os.W_OK | os.X_OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """What every target is lowered from and held to, made once."""

    spec: ModelSpec
    stem: str
    """How the names of all its files begin."""
    graph: ir.Model
    """The canonical graph, float."""
    folds: tuple[str, ...]
    """What was folded into it."""
    probes: Array
    """Pictures, as bytes."""
    expected: list[Array]
    """What the unfolded network returns for them."""


class _Steps:
    """Counts the steps of a call for whoever shows them."""

    def __init__(self, total: int, tell: Callable[[Step], None] | None) -> None:
        self._index, self._total, self._tell = -1, total, tell
        self._name = ""

    def next(self, name: str) -> None:
        self._index, self._name = self._index + 1, name
        self.part(0.0)

    def part(self, part: float) -> None:
        """How much of the current step is done."""
        if self._tell is not None:
            self._tell(Step(index=self._index, total=self._total, name=self._name, part=part))


def _chosen(what: str, value: E | str, kind: type[E]) -> E:
    """A choice that may have been made by its name."""
    try:
        return kind(value)
    except ValueError:
        raise one_of(what, str(value), [str(member.value) for member in kind]) from None


def _targets(names: Sequence[str]) -> tuple[Target, ...]:
    """The targets, checked before any work is done."""
    targets = [get_target(name) for name in names]
    if not targets:
        raise UsageError("no target given: see 'edgecvx targets'")
    by_suffix: dict[str, str] = {}
    for t in targets:
        if (other := by_suffix.setdefault(t.format.suffix, t.name)) != t.name:
            raise UsageError(
                f"targets {other} and {t.name} write a file of the same name: export them into two folders"
            )
        if (found := availability(t.format.checked_in)).version is None:
            raise missing_package(f"{found.hint.split(' is not')[0]}, which target {t.name} needs,", t.format.extra)
    return tuple({t.name: t for t in targets}.values())


def _load(asked: _Request, model: object, **given: Any) -> LoadedModel:
    """The checkpoint or module, which has to have what the task needs."""
    _need_torch()
    from edgecvx.inmemory.given import load_given

    loaded = load_given(model, seed=asked.seed, **given)
    if asked.task is Task.CLASSIFY and not loaded.spec.num_classes:
        raise UsageError(f"{loaded.spec.weights.ref} has no classifier: ask for --task features or --task embed")
    return loaded


def _need_torch() -> None:
    try:
        import onnx  # noqa: F401
        import onnx_ir  # noqa: F401
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_package(f"{error.name}, which export needs,", "onnx") from error


def _network(asked: _Request, loaded: LoadedModel, folds: Sequence[str] | None) -> _Network:
    """Folds the network and writes its canonical graph; before that it is asked what is right."""
    from edgecvx.graph.network import canonical_graph
    from edgecvx.graph.writer import serialized

    spec, stem = loaded.spec, asked.stem(loaded.spec)
    probes = probe_pictures(spec.preprocess.size)
    expected = _reference(loaded.module, probes, spec.preprocess, asked.task)
    graph, applied = canonical_graph(
        loaded.module, spec, task=asked.task, batch=asked.batch, input_kind=asked.input_kind, folds=folds
    )
    if asked.dump is not None:
        write_atomically(asked.dump / f"{stem}.canonical.onnx", serialized(graph))
    return _Network(spec=spec, stem=stem, graph=graph, folds=applied, probes=probes, expected=expected)


def _reference(module: ConvNeXt, pictures: Array, preprocess: PreprocessSpec, task: Task) -> list[Array]:
    """What the unfolded network returns for the probe pictures, in float32."""
    from edgecvx.runtimes.torch import TorchSession

    # One thread: sums depend, in their last digit, on how many share one, and a manifest tells how far a file was off.
    session = TorchSession(module, task=task, image_size=preprocess.size, batch=len(pictures), threads=1)
    return list(session.run(as_input(pictures, preprocess, session.inputs[0])).values())


def _plan(asked: _Request, network: _Network, steps: _Steps) -> Planned:
    """The plan of a static INT8 file: the one that was given, or one made by calibrating and kept beside the files."""
    from edgecvx.quantize.planning import plan_quantization

    if asked.calibrates:
        steps.next(f"calibrating on {asked.plan.pictures}")
    planned = plan_quantization(
        network.graph, network.spec, asked.input_kind, network.folds, asked.plan, on_part=steps.part
    )
    if asked.calibrates:
        write_atomically(asked.out / f"{network.stem}.plan.json", dump_plan(planned.plan))
    return planned


def _warnings(planned: Planned) -> tuple[str, ...]:
    """What a user should know of a plan."""
    if planned.doubt is None:
        return planned.warnings
    return (*planned.warnings, f"{planned.doubt}; edgecvx inspect --statistics shows what int8 leaves of each layer")


def _write(asked: _Request, target: Target, network: _Network, sources: GraphSources, steps: _Steps) -> Exported:
    """Lowers for one target, proves the file, and only then puts it where it belongs."""
    from edgecvx.graph.writer import serialized

    began = time.perf_counter()
    steps.next(f"{target.name}: lowering")
    source = sources.of(target.schemes.get(asked.precision))
    if asked.dump is not None and asked.precision.quantized:
        write_atomically(asked.dump / f"{network.stem}.{target.name}.quantized.onnx", serialized(source.graph))
    lowered: Lowered = load_attribute(target.format.lower)(source.graph, asked.options(target))
    steps.next(f"{target.name}: self-check and writing")
    name = network.stem + target.format.suffix
    with staged(asked.out, network.stem, lowered.files) as folder:
        _check_pairs(asked, target, folder / name)
        off = noise(lowered.outputs, source.expected, sources.exact)
        checked = _check(asked, target, folder / name, lowered, network, source, off)
        quantized = _quantized(asked, target, network, source, checked.close)
        manifest = _manifest(asked, target, network, lowered, checked, quantized, source.floats.reasons)
        path = publish(folder, asked.out, manifest, name)
    notes = load_attribute(target.format.beside)(asked.out) if target.format.beside else ()
    seconds = time.perf_counter() - began
    return Exported(target=target.name, path=path, manifest=manifest, seconds=seconds, notes=notes)


def _check_pairs(asked: _Request, target: Target, path: Path) -> None:
    """Proves what no run on this processor can show: that the staged file's integer sums fit on every other."""
    found = pairs_in(target.format, path) if asked.precision.quantized else None
    if found is not None and found.overflowing:
        raise SelfCheckError(f"{path.name} is not handed over: of its pairs of int8 weights {found}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What came of proving a file."""

    check: SelfCheck
    proof: Proof
    close: Closeness | None
    """To FP32 on calibration pictures; None for a file that was not calibrated."""


def _check(
    asked: _Request,
    target: Target,
    path: Path,
    lowered: Lowered,
    network: _Network,
    source: GraphSource,
    off: float,
) -> _Checked:
    """Opens the staged file in its runtime; compares it with its reference, and calibration pictures with FP32."""
    with contextlib.closing(open_session(target.format.checked_in, path, threads=1)) as session:
        pictures = as_input(network.probes, network.spec.preprocess, lowered.inputs[0])
        answers = run_batches(session, pictures)
        check = self_check(
            answers,
            runtime=f"{target.format.checked_in} {availability(target.format.checked_in).version}",
            outputs=lowered.outputs,
            expected=source.expected,
            precision=asked.precision,
            against=source.against,
            noise=off,
            note=_note(target),
        )
        proof = prove(answers, lowered.outputs, source.expected, target.format.checked_in)
        if not source.kept:
            return _Checked(check=check, proof=proof, close=None)
        kept = np.stack(source.kept)
        if lowered.inputs[0].layout == "NHWC":
            kept = np.ascontiguousarray(kept.transpose(0, 2, 3, 1))
        close = closeness(session, lowered.outputs, kept, source.exact)
        return _Checked(check=check, proof=proof, close=close)


def _note(target: Target) -> str:
    """What a reader of the check's figures has to know about where it was run."""
    if target.format.proved_in:
        return f"{target.title}'s file, checked in {target.format.proved_in}; not run in {target.format.runtime}"
    return target.format.check_note or check_note(target.format.runtime)


def _quantized(
    asked: _Request, target: Target, network: _Network, source: GraphSource, close: Closeness | None
) -> Quantized | None:
    """What the manifest says about the quantization; None for a file of floats."""
    if not asked.precision.quantized:
        return None
    plan = source.plan
    sqnr = None if close is None else close.sqnr
    constants = (value.const_value for value in network.graph.graph.initializers.values())
    return Quantized(
        engine="the runtime" if plan is None else plan.engine,
        scheme=target.schemes[asked.precision].describe(),
        fp32_bytes=sum(constant.nbytes for constant in constants if constant is not None),
        plan_sha256=None if plan is None else plan.sha256,
        calibration=None if plan is None else plan.calibration,
        agreement=None if plan is None or plan.agreement is None else round(plan.agreement.worst, 3),
        # Told as "… or better".
        cosine=None if close is None else math.floor(close.cosine * 1e4) / 1e4,
        sqnr=None if sqnr is None else math.floor(sqnr * 2) / 2,
        int8_macs=round(source.floats.macs, 3),
    )


def _doubt(artifact: Exported) -> str | None:
    """What a user should know of an INT8 file that follows its plan, where the plan is a bad one."""
    quantized, trained = artifact.manifest.quantized, artifact.manifest.model.weights.kind != "random"
    if quantized is None or quantized.cosine is None:
        return None
    noisy = trained and quantized.sqnr is not None and quantized.sqnr < HOLDS
    if quantized.cosine >= CLOSE and not noisy:
        return None
    sqnr = "" if quantized.sqnr is None else f", {quantized.sqnr:g} dB of signal over noise"
    return (
        f"{artifact.path.name} gives other answers than FP32 on its own calibration pictures (cosine "
        f"{quantized.cosine:.3f}{sqnr}): look at it with edgecvx validate --per-layer before you use it, calibrate on "
        "more pictures, or take --precision int8-dynamic"
    )


def _manifest(
    asked: _Request,
    target: Target,
    network: _Network,
    lowered: Lowered,
    checked: _Checked,
    quantized: Quantized | None,
    floats: Mapping[str, str],
) -> Manifest:
    classifies = asked.task is Task.CLASSIFY
    return Manifest(
        model=network.spec if classifies else dataclasses.replace(network.spec, labels=None),
        task=asked.task,
        target=target.name,
        format=target.format.kind,
        runtime=target.format.runtime,
        precision=asked.precision,
        input_kind=asked.input_kind,
        input=lowered.inputs[0],
        outputs=lowered.outputs,
        folds=network.folds,
        passes=lowered.passes,
        kept_float={**lowered.kept_float, **floats},
        tools=_tools(target),
        self_check=checked.check,
        proof=checked.proof,
        quantized=quantized,
        files=entries_of(network.stem, lowered.files),
    )


def _tools(target: Target) -> Mapping[str, str]:
    """The versions a file depends on."""
    packages = ("torch", "onnx", "onnx_ir", *target.format.tools)
    return {"edgecvx": __version__, **{name: importlib.metadata.version(name) for name in packages}}
