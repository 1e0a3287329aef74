"""Weights are not a function: a module that does something else with them is noticed, in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from modules_in_memory import TimmConvNeXt, of_transformers
from support import network
from torch import Tensor, nn

from edgecvx.errors import CheckpointError
from edgecvx.inmemory.module import load_module
from edgecvx.spec import PreprocessSpec

SIZE = PreprocessSpec(size=64)


def hooked(model: TimmConvNeXt) -> nn.Module:
    model.head.fc.register_forward_hook(lambda module, inputs, output: output * 2)  # type: ignore[union-attr]
    return model


def another_activation(model: TimmConvNeXt) -> nn.Module:
    model.stages[1].blocks[0].mlp.act = "gelu_tanh"  # type: ignore[index, union-attr]
    return model


def another_epsilon(model: TimmConvNeXt) -> nn.Module:
    model.stages[0].blocks[0].mlp.grn.eps = 0.1  # type: ignore[index, union-attr]
    return model


class Normalizing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


CHANGES: dict[str, Callable[[TimmConvNeXt], nn.Module]] = {
    "a hook": hooked,
    "a softmax at its end": lambda model: nn.Sequential(model, nn.Softmax(dim=-1)),
    "a normalization before it": lambda model: nn.Sequential(Normalizing(), model),
    "tanh GELU in one block": another_activation,
    "another epsilon in one GRN": another_epsilon,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_forward_pass_is_noticed(change: str) -> None:
    model = TimmConvNeXt()
    load_module(model)  # as it was, it is taken
    with pytest.raises(CheckpointError, match="computes something else than a ConvNeXt of its weights"):
        load_module(CHANGES[change](model), preprocess=SIZE)


def test_a_forward_of_its_own_is_noticed_where_it_hangs_on_the_instance() -> None:
    model = network()
    usual = type(model).forward
    model.forward = lambda x: usual(model, x.flip(-1))  # type: ignore[method-assign]
    with pytest.raises(CheckpointError, match="its logits differ by"):
        load_module(model, preprocess=SIZE)


def test_dropout_and_training_change_nothing() -> None:
    model = TimmConvNeXt().train()
    load_module(nn.Sequential(model, nn.Dropout(0.5)).train(), preprocess=SIZE)


def test_a_backbone_is_compared_by_its_vector() -> None:
    pytest.importorskip("transformers")
    model = of_transformers(task="Model")
    assert load_module(model, preprocess=SIZE).spec.num_classes == 0
    model.layernorm.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(CheckpointError, match="its vectors differ"):
        load_module(model, preprocess=SIZE)


class Answering(TimmConvNeXt):
    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(super().forward(x))


def refuse(x: Tensor) -> Tensor:
    raise KeyError("pixel_values")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (refuse, "on pictures of 64 px it raises KeyError: 'pixel_values'"),
        (lambda x: (x, x), "returns a tuple, in which no logits can be found"),
        (lambda x: x[:, :2], r"returns \[5, 2\] for 5 pictures; its weights give \[5, 3\]"),
        (lambda x: x * torch.nan, "gives NaN or infinity on the probe pictures"),
    ],
)
def test_a_module_that_does_not_answer_is_told(answer: Callable[[Tensor], Any], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        load_module(Answering(answer))
