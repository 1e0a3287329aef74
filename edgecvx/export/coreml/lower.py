"""The canonical graph as a Core ML ``.mlpackage``, on any system (``docs/coreml.md``).

The program is written op by op with coremltools' MIL ``Builder``, in its final form and types: coremltools' own passes
are left out, so that what is written down in ``coreml_ops`` is what the file holds.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecvx.errors import ExportError
from edgecvx.export.base import Lowered
from edgecvx.export.coreml.expose import NAMES
from edgecvx.export.coreml.importing import import_coremltools, quiet
from edgecvx.export.coreml.int8 import kept_float
from edgecvx.export.coreml.ops import write
from edgecvx.export.coreml.options import CoreMLOptions, check_request
from edgecvx.export.coreml.writer import MilWriter
from edgecvx.graph.qdq import is_quantized, weight_of
from edgecvx.graph.values import shape_of, spec_of
from edgecvx.spec import InputKind, PreprocessSpec, TensorSpec, from_json

MODEL = "com.apple.CoreML/model.mlmodel"
WEIGHTS = "com.apple.CoreML/weights/weight.bin"
LABEL, PROBABILITIES = "classLabel", "probabilities"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "edgecvx.mlpackage")
"""A package's items are known by UUIDs; Core ML only asks that they differ, and ours are the same in every file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """How a picture comes in: the program's input, and what must be done to it before the graph."""

    name: str
    shape: tuple[int, ...]
    picture: bool
    preprocess: PreprocessSpec | None

    @property
    def spec(self) -> TensorSpec:
        batch, channels, height, width = self.shape
        if self.picture:
            return TensorSpec(name=self.name, shape=(batch, height, width, channels), dtype="uint8", layout="NHWC")
        return TensorSpec(name=self.name, shape=self.shape, dtype="float32", layout="NCHW")


def lower(graph: ir.Model, options: CoreMLOptions) -> Lowered:
    """Writes a canonical graph as an ML program.

    Raises:
        ExportError: The options do not go with the graph, or a constant does not fit FP16.
        RuntimeUnavailableError: coremltools is not installed.
    """
    if is_quantized(graph) is not options.precision.quantized:
        state = "quantized" if is_quantized(graph) else "float"
        raise ExportError(f"a {state} graph cannot be written as {options.precision.value}")
    taken = _input(graph, options)
    labels = _labels(graph, options)
    results = [value.name or "" for value in graph.graph.outputs]
    published = [*results, *(tap for tap in dict.fromkeys(options.taps) if tap not in results)]
    known = {v.name for node in graph.graph for v in node.outputs if v.dtype is ir.DataType.FLOAT and not weight_of(v)}
    if unknown := [name for name in published if name not in known]:
        raise ExportError(f"the graph has no value named {', '.join(unknown)} to return")
    ct = import_coremltools()
    with quiet():
        writer, program = _program(ct, graph, options, taken, published, classifier=labels is not None)
        spec, weights = _convert(ct, program, options, taken, labels, _scores(published))
    _describe(spec, graph, writer, ct.__version__)
    shapes = {value.name: value for node in graph.graph for value in node.outputs}
    chosen = {
        "image-input": taken.picture,
        "classifier": labels is not None,
        "int8-weights": options.precision.quantized,
        "int8-activations": any(node.op_type == "QuantizeLinear" for node in graph.graph),
        f"ios{options.system}": options.system > 16,
    }
    return Lowered(
        files={
            ".mlpackage/Manifest.json": _manifest(),
            f".mlpackage/Data/{MODEL}": spec.SerializeToString(deterministic=True),
            f".mlpackage/Data/{WEIGHTS}": weights,
        },
        inputs=(taken.spec,),
        outputs=tuple(_output(writer.identifiers.of(name), shapes[name]) for name in published),
        passes=tuple(sorted(writer.passes | {name for name, on in chosen.items() if on})),
        kept_float=_kept_float(graph, options, classifier=labels is not None),
    )


def _kept_float(graph: ir.Model, options: CoreMLOptions, *, classifier: bool) -> dict[str, str]:
    """What is computed in a higher precision than asked for, and why."""
    kept = kept_float(graph) if options.precision.quantized else {}
    if options.half and (classifier or any(node.op_type == "Softmax" for node in graph.graph)):
        kept[PROBABILITIES] = "softmax of logits that are FP32 at the file's door anyway"
    return kept


def _input(graph: ir.Model, options: CoreMLOptions) -> _Input:
    (image,) = graph.graph.inputs
    shape = shape_of(image)
    kind = InputKind.UINT8 if image.dtype == ir.DataType.UINT8 else InputKind.FLOAT
    check_request(options, input_kind=kind, batch=shape[0])
    picture = options.takes_picture(kind)
    preprocess = None
    if picture and kind is InputKind.FLOAT:
        text = graph.metadata_props.get("edgecvx.preprocess")
        if text is None:
            raise ExportError("a picture input on a graph that takes floats needs its preprocessing in the metadata")
        preprocess = from_json(PreprocessSpec, json.loads(text), where="edgecvx.preprocess")
    return _Input(name=image.name or "image", shape=shape, picture=picture, preprocess=preprocess)


def _labels(graph: ir.Model, options: CoreMLOptions) -> list[str] | None:
    """The labels of a classifier, each its own, or None where the file is to be none."""
    if options.classifier is False:
        return None
    text = graph.metadata_props.get("edgecvx.labels")
    logits = graph.graph.outputs[0]
    batch, *rest = shape_of(logits)
    fits = text is not None and logits.name in ("logits", PROBABILITIES) and batch == 1
    if not fits:
        if options.classifier is True:
            raise ExportError("a Core ML classifier needs the task classify, labels, and a batch of 1")
        return None
    labels = [str(label) for label in json.loads(text or "")]
    if [len(labels)] != rest:
        raise ExportError(f"{len(labels)} labels do not go with logits of shape {[batch, *rest]}")
    # The probabilities are a dictionary, in which two classes called "crane" would be one.
    times = collections.Counter(labels)
    unique = [label if times[label] == 1 else f"{label} ({i})" for i, label in enumerate(labels)]
    if len(set(unique)) < len(unique):
        raise ExportError("the labels repeat in a way that indices cannot tell apart; use classifier=False")
    return unique


def _program(
    ct: ModuleType, graph: ir.Model, options: CoreMLOptions, taken: _Input, published: list[str], *, classifier: bool
) -> tuple[MilWriter, Any]:
    """The MIL program and what wrote it."""
    from coremltools.converters.mil.mil import Builder, Function, Program

    Builder.name_count.clear()  # counts what had no name, over the whole process: the same graph, the same bytes
    writer = MilWriter(Builder, half=options.half, published=published)
    with Function(
        {taken.name: Builder.placeholder(shape=taken.shape)}, opset_version=ct.target[f"iOS{options.system}"]
    ) as function:
        writer.values[taken.name] = _enter(writer, function.inputs[taken.name], taken)
        write(writer, graph.graph)
        results = [writer.publish(name) for name in published]
        function.set_outputs(results)
        if classifier and PROBABILITIES in published:
            writer.op("identity", _scores(published), x=results[0])
        elif classifier:
            writer.op("softmax", _scores(published), x=results[0], axis=-1)
    program = Program()
    program.add_function("main", function)
    return writer, program


def _scores(published: list[str]) -> str:
    """What the dictionary of a classifier is made of: Core ML takes that value away from a program's outputs."""
    return f"label_{PROBABILITIES}" if PROBABILITIES in published else PROBABILITIES


def _enter(writer: MilWriter, x: Any, taken: _Input) -> Any:
    """The input as the graph expects it: in the program's precision, preprocessed where a picture meets floats."""
    writer.identifiers.of(taken.name)
    if writer.half:
        x = writer.op("cast", f"{taken.name}_half", x=x, dtype="fp16")
    if taken.preprocess is not None:
        mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in (taken.preprocess.mean, taken.preprocess.std))
        scale = writer.constant(f"{taken.name}.scale", 1 / (255 * std))
        shift = writer.constant(f"{taken.name}.shift", -mean / std)
        scaled = writer.op("mul", f"{taken.name}_scaled", x=x, y=scale)
        x = writer.op("add", f"{taken.name}_normalized", x=scaled, y=shift)
    return x


def _convert(
    ct: ModuleType, program: Any, options: CoreMLOptions, taken: _Input, labels: list[str] | None, scores: str
) -> tuple[Any, bytes]:
    """The protobuf coremltools makes of the program, and the weight file beside it."""
    classifier = None
    if labels is not None:
        classifier = ct.ClassifierConfig(
            class_labels=labels, predicted_feature_name=LABEL, predicted_probabilities_output=scores
        )
    try:
        model = ct.convert(
            program,
            convert_to="mlprogram",
            inputs=[ct.ImageType(name=taken.name, shape=taken.shape, color_layout="RGB")] if taken.picture else None,
            classifier_config=classifier,
            compute_precision=ct.precision.FLOAT32,  # the types are in the program already: nothing to cast
            pass_pipeline=ct.PassPipeline.EMPTY,
            minimum_deployment_target=ct.target[f"iOS{options.system}"],
            skip_model_load=True,
        )
    except (ValueError, RuntimeError, AssertionError, OSError) as error:
        raise ExportError(f"coremltools could not write the program: {' '.join(str(error).split())}") from error
    try:
        return model.get_spec(), (Path(model.weights_dir) / "weight.bin").read_bytes()
    finally:
        shutil.rmtree(model.package_path, ignore_errors=True)  # coremltools' own copy, which it keeps until Python ends


def _describe(spec: Any, graph: ir.Model, writer: MilWriter, version: str) -> None:
    """Fills in what a reader sees in Xcode, and takes out the day of the conversion."""
    props = graph.metadata_props
    metadata = spec.description.metadata
    metadata.shortDescription = f"{props.get('edgecvx.model', 'ConvNeXt')}, {props.get('edgecvx.task', 'classify')}"
    metadata.license = props.get("edgecvx.license", "")
    metadata.userDefined.clear()
    renamed = {mil: name for mil, name in writer.identifiers.canonical.items() if mil != name and name in writer.values}
    metadata.userDefined.update(props)
    metadata.userDefined[NAMES] = json.dumps(renamed, sort_keys=True)
    metadata.userDefined["com.github.apple.coremltools.version"] = version


def _manifest() -> bytes:
    model, weights = (str(uuid.uuid5(_NAMESPACE, name)).upper() for name in ("model", "weights"))
    entries = {
        model: ("CoreML Model Specification", "model.mlmodel", MODEL),
        weights: ("CoreML Model Weights", "weights", str(Path(WEIGHTS).parent)),
    }
    content = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            key: {"author": "com.apple.CoreML", "description": description, "name": name, "path": path}
            for key, (description, name, path) in sorted(entries.items())
        },
        "rootModelIdentifier": model,
    }
    return (json.dumps(content, indent=4) + "\n").encode()


def _output(name: str, value: ir.Value) -> TensorSpec:
    if len(shape_of(value)) not in (2, 4):
        raise ExportError(f"value {value.name!r} has {len(shape_of(value))} dimensions; an output has 2 or 4")
    return dataclasses.replace(spec_of(value), name=name)
