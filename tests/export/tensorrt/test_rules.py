"""TensorRT's rules: our files keep all of them, and each planted mistake is found by the rule that is about it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from lowerings import NETWORKS, canonical
from numpy.typing import NDArray
from support import network

pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper
from quantized import quantized

from edgecvx.errors import ArtifactError, ExportError
from edgecvx.export.base import Options
from edgecvx.export.onnx.lower import OnnxOptions
from edgecvx.export.onnx.lower import lower as lower_for_onnxruntime
from edgecvx.export.tensorrt.format import INT8
from edgecvx.export.tensorrt.lower import SUFFIX, lower
from edgecvx.export.tensorrt.rules import RULES, check_file, hold, violations
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.spec import Precision, PreprocessSpec, Task

BLOCK = "stages.2.blocks.1"


@functools.cache
def file(precision: Precision = Precision.INT8) -> bytes:
    graph = canonical(network())
    graph = quantized(graph, INT8) if precision.quantized else graph
    return lower(graph, Options(precision=precision)).files[SUFFIX]


def fresh(precision: Precision = Precision.INT8) -> onnx.ModelProto:
    return onnx.load_from_string(file(precision))


def found(model: onnx.ModelProto) -> dict[str, str]:
    """The rules that are broken, each with the first node that breaks it."""
    told: dict[str, str] = {}
    for violation in violations(ir.from_proto(model)):
        told.setdefault(violation.rule, violation.node)
    return told


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("name", NETWORKS)
def test_ours_keep_every_rule(name: str, task: Task) -> None:
    graph = canonical(network(**NETWORKS[name]), task=task)
    for precision in (Precision.FP32, Precision.FP16, Precision.INT8):
        source = quantized(graph, INT8) if precision.quantized else graph
        content = lower(source, Options(precision=precision)).files[SUFFIX]
        assert violations(ir.from_proto(onnx.load_from_string(content))) == ()


def test_ours_with_bytes_in_keep_every_rule() -> None:
    graph = quantized(canonical(network(), preprocess=PreprocessSpec(size=64)), INT8)
    content = lower(graph, Options(precision=Precision.INT8)).files[SUFFIX]
    assert violations(ir.from_proto(onnx.load_from_string(content))) == ()


# Mistakes, each with the rule that must name it and the node it must name.


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    one: onnx.NodeProto = next(n for n in model.graph.node if n.name == name)
    return one


def constant(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    one: onnx.TensorProto = next(c for c in model.graph.initializer if c.name == name)
    return one


def put(model: onnx.ModelProto, name: str, array: NDArray[Any]) -> None:
    constant(model, name).CopyFrom(numpy_helper.from_array(array, name))


def declare(model: onnx.ModelProto, name: str, kind: int) -> None:
    for info in (*model.graph.value_info, *model.graph.output, *model.graph.input):
        if info.name == name:
            info.type.tensor_type.elem_type = kind


def attribute(model: onnx.ModelProto, name: str, key: str, value: int) -> None:
    target = node(model, name)
    kept = [a for a in target.attribute if a.name != key]
    del target.attribute[:]
    target.attribute.extend([*kept, helper.make_attribute(key, value)])


def newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 23


def foreign_operation(model: onnx.ModelProto) -> None:
    node(model, f"{BLOCK}.mlp.fc1").op_type = "ConvInteger"


def free_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def name_twice(model: onnx.ModelProto) -> None:
    node(model, f"{BLOCK}.mlp.fc2").name = f"{BLOCK}.mlp.fc1"


def half_output(model: onnx.ModelProto) -> None:
    declare(model, "logits", TensorProto.FLOAT16)


def no_zero_point(model: onnx.ModelProto) -> None:
    del node(model, f"{BLOCK}.mlp.fc1.weight.dequantized").input[2]


def zero_point(model: onnx.ModelProto) -> None:
    put(model, f"{BLOCK}.mlp.fc1.input.zero_point", np.array(3, np.int8))


def unsigned(model: onnx.ModelProto) -> None:
    name = f"{BLOCK}.mlp.fc1.input"
    put(model, f"{name}.zero_point", np.array(0, np.uint8))
    declare(model, f"{name}.int8", TensorProto.UINT8)


def negative_scale(model: onnx.ModelProto) -> None:
    put(model, f"{BLOCK}.mlp.fc1.input.scale", np.array(-0.1, np.float32))


def half_scale(model: onnx.ModelProto) -> None:
    put(model, f"{BLOCK}.mlp.fc1.input.scale", np.array(0.1, np.float16))


def scale_per_channel(model: onnx.ModelProto) -> None:
    put(model, f"{BLOCK}.mlp.fc1.input.scale", np.full(24, 0.1, np.float32))
    put(model, f"{BLOCK}.mlp.fc1.input.zero_point", np.zeros(24, np.int8))


def weights_along_inputs(model: onnx.ModelProto) -> None:
    attribute(model, f"{BLOCK}.mlp.fc1.weight.dequantized", "axis", 1)


def one_scale_for_all_weights(model: onnx.ModelProto) -> None:
    put(model, f"{BLOCK}.mlp.fc1.weight.scale", np.array([0.1], np.float32))
    put(model, f"{BLOCK}.mlp.fc1.weight.zero_point", np.zeros(1, np.int8))


def untransposed(model: onnx.ModelProto) -> None:
    attribute(model, "logits", "transB", 0)


def lowest_weight(model: onnx.ModelProto) -> None:
    name = f"{BLOCK}.mlp.fc1.weight.int8"
    array = numpy_helper.to_array(constant(model, name)).copy()
    array.flat[0] = -128
    put(model, name, array)


def lone_quantize(model: onnx.ModelProto) -> None:
    source = node(model, f"{BLOCK}.mlp.fc1.input.int8")
    node(model, f"{BLOCK}.mlp.fc1").input[0] = source.output[0]


def other_scale(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "another"))
    node(model, f"{BLOCK}.mlp.fc1.input").input[1] = "another"


def float_input(model: onnx.ModelProto) -> None:
    node(model, f"{BLOCK}.mlp.fc1").input[0] = f"{BLOCK}.norm"


def float_weights(model: onnx.ModelProto) -> None:
    name = f"{BLOCK}.mlp.fc1.weight.int8"
    array = numpy_helper.to_array(constant(model, name)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(array, "floats"))
    node(model, f"{BLOCK}.mlp.fc1").input[1] = "floats"


def computed_weights(model: onnx.ModelProto) -> None:
    node(model, "stem.0").input[1] = f"{BLOCK}.mlp.act"


def integer_bias(model: onnx.ModelProto) -> None:
    name = f"{BLOCK}.mlp.fc1.bias"
    put(model, name, numpy_helper.to_array(constant(model, name)).astype(np.int32))


def nothing_before_the_norm(model: onnx.ModelProto) -> None:
    for reader in model.graph.node:
        for index, name in enumerate(reader.input):
            if name == f"{BLOCK}.conv_dw.dequantized":
                reader.input[index] = f"{BLOCK}.conv_dw"


def pair_before_gelu(model: onnx.ModelProto) -> None:
    value, scale, zero = f"{BLOCK}.mlp.fc1", f"{BLOCK}.mlp.fc1.input.scale", f"{BLOCK}.mlp.fc1.input.zero_point"
    for reader in model.graph.node:
        for index, name in enumerate(reader.input):
            if name == value:
                reader.input[index] = "planted"
    shape = next(list(v.type.tensor_type.shape.dim) for v in model.graph.value_info if v.name == value)
    sizes = [d.dim_value for d in shape]
    quantize = helper.make_node("QuantizeLinear", [value, scale, zero], ["planted.int8"], name="planted.int8")
    dequantize = helper.make_node("DequantizeLinear", ["planted.int8", scale, zero], ["planted"], name="planted")
    index = next(i for i, n in enumerate(model.graph.node) if n.name == value)
    model.graph.node.insert(index + 1, quantize)
    model.graph.node.insert(index + 2, dequantize)
    model.graph.value_info.append(helper.make_tensor_value_info("planted.int8", TensorProto.INT8, sizes))
    model.graph.value_info.append(helper.make_tensor_value_info("planted", TensorProto.FLOAT, sizes))


def half_statistics(model: onnx.ModelProto) -> None:
    declare(model, f"{BLOCK}.mlp.grn.energy", TensorProto.FLOAT16)


def half_norm(model: onnx.ModelProto) -> None:
    attribute(model, f"{BLOCK}.norm.norm", "stash_type", 10)


def mixed_types(model: onnx.ModelProto) -> None:
    declare(model, f"{BLOCK}.mlp.fc1", TensorProto.FLOAT16)


def numbers_elsewhere(model: onnx.ModelProto) -> None:
    tensor = constant(model, f"{BLOCK}.mlp.fc1.bias")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")


def lying_cast(model: onnx.ModelProto) -> None:
    """All that follows is declared, and held to be, float32, and would really be computed in float16."""
    insert_before(model, f"{BLOCK}.mlp.grn.square", 0, TensorProto.FLOAT, to=TensorProto.FLOAT16)


def lying_zero_point(model: onnx.ModelProto) -> None:
    """Q's type is that of its zero point, not the one that is declared for its output."""
    put(model, f"{BLOCK}.mlp.fc1.input.zero_point", np.array(0, np.uint8))


def double(model: onnx.ModelProto) -> None:
    insert_before(model, f"{BLOCK}.mlp.grn.square", 0, TensorProto.DOUBLE)


def half_into_quantize(model: onnx.ModelProto) -> None:
    insert_before(model, f"{BLOCK}.mlp.fc1.input.int8", 0, TensorProto.FLOAT16)


def half_square(model: onnx.ModelProto) -> None:
    """The sum is in float32, as it should be, and of squares that overflowed before it."""
    name = f"{BLOCK}.mlp.grn.square"
    square = node(model, name)
    for index in (0, 1):
        insert_before(model, name, index, TensorProto.FLOAT16)
    declare(model, name, TensorProto.FLOAT16)
    (reader,) = [n.name for n in model.graph.node if name in n.input]
    insert_before(model, reader, 0, TensorProto.FLOAT)
    assert square.op_type == "Mul"


def half_quotient(model: onnx.ModelProto) -> None:
    name = f"{BLOCK}.mlp.grn.normalized"
    for index in (0, 1):
        insert_before(model, name, index, TensorProto.FLOAT16)
    declare(model, name, TensorProto.FLOAT16)


def bias_of_its_own(model: onnx.ModelProto) -> None:
    """Nothing before the norm, with the bias as an Add behind the convolution."""
    nothing_before_the_norm(model)
    name = f"{BLOCK}.conv_dw"
    bias = node(model, name).input[2]
    column = numpy_helper.to_array(constant(model, bias)).reshape(-1, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(column, "column"))
    del node(model, name).input[2]
    readers = [n for n in model.graph.node if name in n.input and n.op_type == "Transpose"]
    for reader in readers:
        reader.input[0] = "biased"
    at = next(i for i, n in enumerate(model.graph.node) if n.name == name)
    model.graph.node.insert(at + 1, helper.make_node("Add", [name, "column"], ["biased"], name="biased"))
    model.graph.value_info.append(helper.make_tensor_value_info("biased", TensorProto.FLOAT, sizes_of(model, name)))


def sizes_of(model: onnx.ModelProto, name: str) -> list[int]:
    (dims,) = [v.type.tensor_type.shape.dim for v in model.graph.value_info if v.name == name]
    return [d.dim_value for d in dims]


def insert_before(model: onnx.ModelProto, name: str, index: int, declared: int, to: int | None = None) -> None:
    """Puts a Cast before an input of a node."""
    at = next(i for i, n in enumerate(model.graph.node) if n.name == name)
    reader = model.graph.node[at]
    source, cast = reader.input[index], f"{name}.cast{index}"
    model.graph.value_info.append(helper.make_tensor_value_info(cast, declared, sizes_of(model, source)))
    reader.input[index] = cast
    one = helper.make_node("Cast", [source], [cast], name=cast, to=declared if to is None else to)
    model.graph.node.insert(at, one)


PLANTED: list[tuple[Callable[[onnx.ModelProto], None], str, str]] = [
    (newer_opset, "readable-opset", "edgecvx"),
    (foreign_operation, "standard-operations", f"{BLOCK}.mlp.fc1"),
    (free_size, "static-shapes", "image"),
    (name_twice, "named-nodes", f"{BLOCK}.mlp.fc1"),
    (half_output, "float-door", "logits"),
    (no_zero_point, "three-inputs", f"{BLOCK}.mlp.fc1.weight.dequantized"),
    (zero_point, "symmetric", f"{BLOCK}.mlp.fc1.input.int8"),
    (unsigned, "signed-bytes", f"{BLOCK}.mlp.fc1.input.int8"),
    (negative_scale, "constant-scales", f"{BLOCK}.mlp.fc1.input.int8"),
    (half_scale, "constant-scales", f"{BLOCK}.mlp.fc1.input.int8"),
    (scale_per_channel, "one-scale-per-activation", f"{BLOCK}.mlp.fc1.input.int8"),
    (weights_along_inputs, "one-scale-per-channel", f"{BLOCK}.mlp.fc1.weight.dequantized"),
    (one_scale_for_all_weights, "one-scale-per-channel", f"{BLOCK}.mlp.fc1.weight.dequantized"),
    (untransposed, "one-scale-per-channel", "logits"),
    (lowest_weight, "narrow-weights", f"{BLOCK}.mlp.fc1.weight.dequantized"),
    (lone_quantize, "pairs-belong-together", f"{BLOCK}.mlp.fc1.input.int8"),
    (other_scale, "pairs-belong-together", f"{BLOCK}.mlp.fc1.input.int8"),
    (float_input, "both-inputs", f"{BLOCK}.mlp.fc1"),
    (float_weights, "both-inputs", f"{BLOCK}.mlp.fc1"),
    (computed_weights, "constant-weights", "stem.0"),
    (integer_bias, "float-bias", f"{BLOCK}.mlp.fc1"),
    (nothing_before_the_norm, "quantized-before-norm", f"{BLOCK}.norm.norm"),
    (pair_before_gelu, "nothing-before-activation", "planted.int8"),
    (half_statistics, "float32-statistics", f"{BLOCK}.mlp.grn.energy"),
    (half_norm, "float32-statistics", f"{BLOCK}.norm.norm"),
    (mixed_types, "one-float-type", f"{BLOCK}.mlp.fc1"),
    (numbers_elsewhere, "one-file", f"{BLOCK}.mlp.fc1.bias"),
    (lying_cast, "true-types", f"{BLOCK}.mlp.grn.square.cast0"),
    (lying_zero_point, "true-types", f"{BLOCK}.mlp.fc1.input.int8"),
    (double, "true-types", f"{BLOCK}.mlp.grn.square.cast0"),
    (half_into_quantize, "true-types", f"{BLOCK}.mlp.fc1.input.int8"),
    (half_square, "float32-statistics", f"{BLOCK}.mlp.grn.energy"),
    (half_quotient, "float32-statistics", f"{BLOCK}.mlp.grn.normalized"),
    (bias_of_its_own, "quantized-before-norm", f"{BLOCK}.norm.norm"),
]


@pytest.mark.parametrize(("plant", "rule", "where"), PLANTED, ids=lambda p: getattr(p, "__name__", ""))
def test_a_planted_mistake_is_named(plant: Callable[[onnx.ModelProto], None], rule: str, where: str) -> None:
    model = fresh()
    assert found(model) == {}
    plant(model)
    assert found(model).get(rule) == where


def test_a_quantized_stem_is_named() -> None:
    """A scheme that quantizes every layer: what a generic quantizer does."""
    graph = quantized(canonical(network()), Scheme(outputs=frozenset([Role.DEPTHWISE, Role.STEM]), symmetric=True))
    with pytest.raises(ExportError, match=r"rule of TensorRT's: float-stem: stem\.0: is quantized and reads 3 chann"):
        lower(graph, Options(precision=Precision.INT8))


def test_every_rule_is_planted_against() -> None:
    assert {rule for _, rule, _ in PLANTED} | {"float-stem"} == set(RULES)
    assert all(rule.__doc__ and "Source: " in rule.__doc__ for rule in RULES.values())


def test_a_violation_is_a_sentence() -> None:
    model = fresh()
    zero_point(model)
    with pytest.raises(
        ExportError, match=rf"symmetric: {BLOCK}\.mlp\.fc1\.input\.int8: has zero point 3 \(and 1 more\)"
    ):
        hold(ir.from_proto(model))


def test_a_file_of_another_target_breaks_rules(tmp_path: Path) -> None:
    """The file for ONNX Runtime's processor kernels is not one TensorRT reads."""
    content = lower_for_onnxruntime(quantized(canonical(network()), INT8), OnnxOptions(precision=Precision.INT8)).files[
        ".onnx"
    ]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert any("com.microsoft" in told for told in check_file(path))
    path.write_bytes(file())
    assert check_file(path) == ()
    cut = fresh()
    del node(cut, f"{BLOCK}.mlp.fc1.input.int8").input[1:]
    path.write_bytes(cut.SerializeToString())
    with pytest.raises(ArtifactError, match=r"model\.onnx is not an ONNX model"):
        check_file(path)
    path.write_bytes(b"no model")
    with pytest.raises(ArtifactError, match=r"model\.onnx is not an ONNX model"):
        check_file(path)
