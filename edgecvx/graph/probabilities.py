"""A classifier's graph that ends in a softmax: probabilities in place of logits.

It is put behind a graph that is finished, quantized or not. So a plan is made, judged and read of logits, whichever of
the two a file returns, and both files hold the same network.
"""

from __future__ import annotations

import onnx_ir as ir

from edgecvx.graph.values import shape_of
from edgecvx.graph.writer import Writer
from edgecvx.spec import OutputKind


def ending_in_softmax(graph: ir.Model) -> ir.Model:
    """A copy of a classifier's graph that returns probabilities."""
    model = ir.serde.deserialize_model(ir.serde.serialize_model(graph))
    (logits,) = model.graph.outputs
    write = Writer()
    name = OutputKind.PROBABILITIES.value
    probabilities = write.op("Softmax", [logits], {"axis": 1}, name=name, shape=shape_of(logits))
    model.graph.extend(write.nodes)
    model.graph.outputs[0] = probabilities
    return model
