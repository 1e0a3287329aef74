"""Schemes: plain data, checked when made; every layer of the network has a role."""

from __future__ import annotations

import pytest

from edgecvx.errors import EdgecvxError
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.graph.scheme import Role, Scheme, role_of
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.models.variants import VARIANTS


@pytest.mark.parametrize("variant", ["convnextv2_atto", "convnext_atto_ols"])
def test_every_layer_of_the_network_has_a_role(variant: str) -> None:
    graph = build_canonical(fold(initialize(ConvNeXt(VARIANTS[variant], 3), 0)).module, image_size=32)
    roles = [role_of(str(n.outputs[0].name)) for n in graph.graph if n.op_type in ("Conv", "Gemm")]
    blocks = sum(VARIANTS[variant].depths)
    stems = 2 if VARIANTS[variant].stem_mid else 1
    expected = {Role.STEM: stems, Role.DOWNSAMPLE: 3, Role.CLASSIFIER: 1}
    expected |= dict.fromkeys((Role.DEPTHWISE, Role.FC1, Role.FC2), blocks)
    assert {role: roles.count(role) for role in Role} == expected


def test_what_is_no_layer_has_no_role() -> None:
    with pytest.raises(EdgecvxError, match="no layer"):
        role_of("stages.0.blocks.0.norm")


def test_a_role_decides_what_can_be_quantized() -> None:
    scheme = Scheme(inputs=frozenset([Role.DEPTHWISE, Role.STEM]), outputs=frozenset([Role.DEPTHWISE]))
    assert scheme.quantizes("stages.1.blocks.1.conv_dw") and scheme.quantizes_output("stages.1.blocks.1.conv_dw")
    assert scheme.quantizes("stem.0") and not scheme.quantizes_output("stem.0")
    assert not scheme.quantizes("stages.1.blocks.1.mlp.fc1")


def test_a_scheme_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(EdgecvxError, match="dynamic"):
        Scheme(dynamic=True, activations=True)
    with pytest.raises(EdgecvxError, match="only a layer computed in INT8"):
        Scheme(inputs=frozenset([Role.FC1]), outputs=frozenset([Role.FC2]))
    with pytest.raises(EdgecvxError, match="nothing but integers"):
        Scheme(returns_integers=frozenset([Role.DEPTHWISE]))


def test_the_manifest_tells_the_scheme_in_words() -> None:
    told = Scheme(inputs=frozenset([Role.FC1, Role.STEM]), symmetric=True).describe()
    assert told["layers"] == "stem fc1" and told["zero points"] == "0" and told["outputs in int8"] == "none"
    assert "zero points" not in Scheme(dynamic=True).describe()
