"""The ONNX lowering of a quantized graph: each layer computes what the graph says, from what the file itself gives it.

Two INT8 networks that differ in the last digit of one float soon round differently, and end as far apart as either is
from FP32. So layers are compared one by one: the quantized graph's layer, run node by node, is fed with the file's own
tensors, and nothing is left to chance but the last digit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from lowerings import FP32_CLOSE, NETWORKS, canonical, reference, run, worst, written
from numpy.typing import NDArray
from support import network, probe, relative_error

pytest.importorskip("onnxruntime")

from opening import open_onnxruntime as open_session
from quantized import images_of, quantized, run_onnx

from edgecvx.errors import ExportError, UsageError
from edgecvx.export.base import Lowered
from edgecvx.export.onnx.expose import expose, inner_tensors
from edgecvx.export.onnx.format import FORMAT
from edgecvx.export.onnx.lower import OnnxOptions, lower
from edgecvx.export.onnx.reader import read_ops
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.graph.values import is_constant
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.spec import ArchSpec, Precision, PreprocessSpec, Task

INT8 = OnnxOptions(precision=Precision.INT8)
DYNAMIC = OnnxOptions(precision=Precision.INT8_DYNAMIC)
PLAIN = OnnxOptions(precision=Precision.INT8, form="plain")
SCHEMES = {
    "target": FORMAT.schemes[Precision.INT8],
    "everything": Scheme(outputs=frozenset(Role), activations=True),
    "symmetric, inputs only": Scheme(symmetric=True),
}
TANH_GELU = 5e-4
"""How far GELU written with tanh is from the exact one, at most; see docs/onnx.md."""


def model_of(lowered: Lowered) -> onnx.ModelProto:
    return onnx.load_from_string(lowered.files[".onnx"])


def errors_of_layers(
    graph: ir.Model, x: NDArray[Any], folder: Path, broken: ir.Model | None = None
) -> dict[str, float]:
    """For each value of the quantized graph that is float in the file: its error, fed with the file's own tensors.

    Relative to its largest value, but for a layer whose output is quantized: there, in steps of its grid.
    """
    names = [name for name, _ in shown(graph)]
    file = lower(graph if broken is None else broken, OnnxOptions(precision=Precision.INT8, taps=tuple(names)))
    seen = run(file, x, folder, open_session)
    extractor = onnx.utils.Extractor(ir.to_proto(graph))
    errors = {}
    for name, node in shown(graph):
        sources = sorted(set(sources_of(node, {*names, "image"})))
        layer = ir.from_proto(extractor.extract_model(sources, [name]))
        expected = run_layer(layer, {source: seen.get(source, x) for source in sources})
        step = grid_step(node)
        errors[name] = np.abs(seen[name] - expected).max() / (np.abs(expected).max() if step is None else step)
    return errors


def shown(graph: ir.Model) -> Iterator[tuple[str, ir.Node]]:
    """The values to look at: what each operation of the float graph returns, after its rounding where it has one."""
    for node in graph.graph:
        readers = [use.node.op_type for use in node.outputs[0].uses()]
        named, inside = str(node.name), readers in (["Mul"], ["Add"]) and "norm" in str(node.name)
        skipped = node.op_type in ("QuantizeLinear", "Cast", "Flatten") or inside or named.startswith("stem.1.norm")
        if node.op_type == "DequantizeLinear":
            skipped = is_constant(node.inputs[0]) or (named.endswith(".input") and not follows_integer_conv(node))
        elif node.op_type == "Conv":
            skipped = readers == ["QuantizeLinear"]
        if not skipped:
            yield str(node.outputs[0].name), node


def follows_integer_conv(node: ir.Node) -> bool:
    quantize = node.inputs[0].producer() if node.inputs[0] is not None else None
    value = None if quantize is None else quantize.inputs[0]
    producer = None if value is None else value.producer()
    return producer is not None and producer.op_type == "Conv" and len(producer.outputs[0].uses()) == 1


def sources_of(node: ir.Node, known: set[str]) -> Iterator[str]:
    for value in node.inputs:
        if value is None or value.const_value is not None:
            continue
        if str(value.name) in known:
            yield str(value.name)
        else:
            producer = value.producer()
            assert producer is not None
            yield from sources_of(producer, known)


def grid_step(node: ir.Node) -> float | None:
    if node.op_type != "DequantizeLinear":
        return None
    scale = node.inputs[1]
    assert scale is not None and scale.const_value is not None
    return float(scale.const_value.numpy())


def run_layer(layer: ir.Model, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        ir.to_proto(layer).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, feeds)[0])


def limit_of(name: str, node: ir.Node) -> float:
    if node.op_type == "DequantizeLinear":
        return 1.001  # one step: the kernel rounds a product of scales, the graph a quotient
    return 2 * TANH_GELU if node.op_type == "Gelu" else FP32_CLOSE


CASES = [
    *((name, None, "target") for name in NETWORKS),
    *((name, (), "target") for name in NETWORKS if name != "v1"),
    *(("v2", None, scheme) for scheme in SCHEMES if scheme != "target"),
    ("v2 tiered stem, SiLU, other kernels", (), "everything"),
]


@pytest.mark.parametrize(("name", "folds", "scheme"), CASES)
def test_each_layer_computes_what_the_quantized_graph_says(name: str, folds: Any, scheme: str, tmp_path: Path) -> None:
    graph = quantized(canonical(network(**NETWORKS[name]), folds=folds, batch=2), SCHEMES[scheme])
    nodes = dict(shown(graph))
    for layer, error in errors_of_layers(graph, images_of(graph)[0], tmp_path).items():
        assert error <= limit_of(layer, nodes[layer]), layer


def with_one_wrong(array: NDArray[Any]) -> NDArray[Any]:
    """One number of a constant off by a hundredth, or a weight with the wrong sign."""
    wrong: NDArray[Any] = array.copy()
    at = np.unravel_index(np.abs(array.astype(np.float32)).argmax(), array.shape)
    wrong[at] = wrong[at] * 1.01 if array.dtype == np.float32 else -wrong[at]
    return wrong


@pytest.mark.parametrize(
    ("constant", "layer"),
    [
        ("stages.0.blocks.0.mlp.fc1.weight.int8", "stages.0.blocks.0.mlp.fc1"),
        ("stages.2.blocks.0.mlp.fc2.weight.scale", "stages.2.blocks.0.mlp.fc2"),
        ("stages.1.downsample.1.input.scale", "stages.1.downsample.1"),
        ("stages.2.blocks.0.conv_dw.weight.int8", "stages.2.blocks.0.conv_dw.dequantized"),
        ("stages.1.blocks.0.mlp.grn.gamma", "stages.1.blocks.0.mlp.grn"),
        ("stem.0.bias", "stem.0"),
        ("head.fc.weight.int8", "logits"),
    ],
)
def test_one_wrong_number_is_found_where_it_is(constant: str, layer: str, tmp_path: Path) -> None:
    """The comparison above has teeth, and points at the layer."""
    graph = quantized(canonical(network()), SCHEMES["target"])
    broken = ir.from_proto(ir.to_proto(graph))
    value = broken.graph.initializers[constant]
    assert value.const_value is not None
    value.const_value = ir.tensor(with_one_wrong(value.const_value.numpy()), name=constant)
    nodes = dict(shown(graph))
    errors = errors_of_layers(graph, images_of(graph)[0], tmp_path, broken)
    assert [name for name, error in errors.items() if error > limit_of(name, nodes[name])] == [layer]


@pytest.mark.parametrize("task", Task)
def test_every_task_stays_near_pytorch(task: Task, tmp_path: Path) -> None:
    module, x = network(), probe(2)
    graph = canonical(module, task=task, batch=2)
    for scheme, options in ((SCHEMES["target"], INT8), (FORMAT.schemes[Precision.INT8_DYNAMIC], DYNAMIC)):
        file = lower(quantized(graph, scheme, [x]), options)
        # Eight bits through five blocks with random weights; the dynamic file's inputs are as coarse.
        assert 0 < worst(run(file, x, tmp_path, open_session), reference(module, x, task)) < 0.1
        assert all(o.dtype == "float32" and o.layout == ("NCHW" if len(o.shape) == 4 else "NC") for o in file.outputs)


def test_a_dynamic_file_finds_its_scales_itself(tmp_path: Path) -> None:
    graph = canonical(network())
    model = model_of(lower(quantized(graph, FORMAT.schemes[Precision.INT8_DYNAMIC]), DYNAMIC))
    counts = Counter(node.op_type for node in model.graph.node)
    assert counts["DynamicQuantizeMatMul"] == 1 + 3 + 2 * 5 + 1  # stem, downsampling, fc1 and fc2, classifier
    assert not counts["QuantizeLinear"] and not counts["MatMulIntegerToFloat"]
    x = probe()
    one, ten = (
        run(lower(quantized(graph, Scheme(dynamic=True)), DYNAMIC), x * k, tmp_path, open_session) for k in (1, 10)
    )
    assert np.isfinite(ten["logits"]).all() and np.abs(ten["logits"] - one["logits"]).max() > 0


def test_bytes_go_into_the_stem_as_they_are(tmp_path: Path) -> None:
    graph = quantized(canonical(network(), preprocess=PreprocessSpec(size=64)), SCHEMES["target"])
    model = model_of(lower(graph, INT8))
    stem = next(i for i, node in enumerate(model.graph.node) if node.name == "stem.0")
    door = [node for node in model.graph.node[:stem] if node.op_type != "ConstantOfShape"]
    assert {node.op_type for node in door} == {"Reshape", "Transpose"}  # bytes are moved, never computed with
    assert model.graph.node[stem].op_type == "MatMulIntegerToFloat"
    pixels = images_of(graph)[0]
    assert errors_of_layers(graph, pixels, tmp_path)["stem.0"] < FP32_CLOSE
    assert "bytes-into-the-stem" in lower(graph, INT8).passes


def test_the_plain_form_is_the_quantized_graph_in_standard_operations(tmp_path: Path) -> None:
    graph = quantized(canonical(network(), metadata={"edgecvx.model": "small"}), SCHEMES["target"])
    file, x = lower(graph, PLAIN), probe()
    model = model_of(file)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)] and not model.functions
    assert {p.key: p.value for p in model.metadata_props} == {"edgecvx.model": "small"}
    types = {t.data_type for t in model.graph.initializer}
    assert onnx.TensorProto.INT8 in types and onnx.TensorProto.UINT8 not in types
    # The same operations in the same order; onnxruntime evaluates both without rewriting them.
    assert worst(run_onnx(ir.from_proto(model), x), list(run_onnx(graph, x).values())) < FP32_CLOSE
    tap = "stages.0.blocks.0.mlp.grn"
    tapped = lower(graph, OnnxOptions(precision=Precision.INT8, form="plain", taps=(tap,)))
    assert list(run(tapped, x, tmp_path, open_session)) == ["logits", tap]
    floats = canonical(network())
    plain = lower(floats, OnnxOptions(form="plain"))
    assert worst(run(plain, x, tmp_path, open_session), list(run_onnx(floats, x).values())) < FP32_CLOSE


def test_what_cannot_be_written_is_told() -> None:
    floats = canonical(network())
    graph = quantized(floats)
    with pytest.raises(ExportError, match="in int8 was asked for, but the graph has no int8 weights"):
        lower(floats, INT8)
    with pytest.raises(ExportError, match="in fp32 was asked for, but the graph has int8 weights"):
        lower(graph, OnnxOptions())
    with pytest.raises(UsageError, match=r"'stem\.0\.input\.int8' cannot be shown: it is no float"):
        lower(graph, OnnxOptions(precision=Precision.INT8, taps=("stem.0.input.int8",)))
    with pytest.raises(UsageError, match="did you mean plain"):
        OnnxOptions(form="plane")  # type: ignore[arg-type]
    with pytest.raises(ExportError, match="no plain form in FP16"):
        OnnxOptions(form="plain", precision=Precision.FP16)


@pytest.mark.parametrize(("name", "dims"), [("atto", (40, 80, 160, 320)), ("femto", (48, 96, 192, 384))])
def test_nearly_all_arithmetic_is_in_integers(name: str, dims: Sequence[int], tmp_path: Path) -> None:
    """At the real size: 95% of the multiply-accumulates, and a file of at most 0.28 of FP32's."""
    arch = ArchSpec(name=f"convnextv2_{name}", depths=(2, 2, 6, 2), dims=tuple(dims))
    floats = canonical(initialize(ConvNeXt(arch, 1000), 0), size=224)
    graph = quantized(floats, SCHEMES["target"], images_of(floats, count=1))
    file = lower(graph, INT8)
    ops = read_ops(written(file, tmp_path))
    macs = sum(op.macs for op in ops)
    assert macs == sum(op.macs for op in read_ops(written(lower(floats, OnnxOptions()), tmp_path)))
    assert sum(op.macs for op in ops if op.bits) >= 0.95 * macs
    assert all(bool(op.bits) == (op.op.startswith("com.microsoft.")) for op in ops if op.macs)
    assert len(file.files[".onnx"]) <= 0.28 * len(lower(floats, OnnxOptions()).files[".onnx"])
    assert file.passes == ("pixels-as-rows", "integer-products", "norm-of-pixels-as-channels", "tanh-gelu")
    assert set(file.kept_float) == {"LayerNorm2d", "Grn", "Gelu", "Add", "GlobalAveragePool", "float convolution"}
    plain = read_ops(written(lower(graph, PLAIN), tmp_path))
    assert sum(op.macs for op in plain if op.bits) == sum(op.macs for op in ops if op.bits)


def test_inner_tensors_can_be_looked_at(tmp_path: Path) -> None:
    """What the comparison layer by layer needs: canonical names, floats, and a file that still runs with them."""
    graph = quantized(canonical(network()), SCHEMES["target"])
    path = written(lower(graph, INT8), tmp_path)
    own = inner_tensors(path)
    block = "stages.3.blocks.0"
    names = [f"{block}.{part}" for part in ("conv_dw", "norm", "mlp.fc1", "mlp.act", "mlp.grn", "mlp.fc2")]
    assert set(names) <= set(own)
    (tmp_path / "debug.onnx").write_bytes(expose(path, [own[name] for name in names])[".onnx"])
    shown = open_session(tmp_path / "debug.onnx").run(probe())
    assert set(shown) == {"logits", *names} and all(array.dtype == np.float32 for array in shown.values())
    assert relative_error(shown["logits"], open_session(path).run(probe())["logits"]) < 0.1
