"""The script behind the demo weights: an interrupted run must end with the weights of an uninterrupted one."""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors")

from edgecvx.errors import EdgecvxError  # noqa: E402
from edgecvx.spec import ArchSpec, PreprocessSpec, from_json  # noqa: E402


@pytest.fixture(scope="module")
def script() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "train_demo.py"
    spec = importlib.util.spec_from_file_location("train_demo", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_demo"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recipe(script: ModuleType) -> object:
    phases = tuple(
        script.Phase(size=size, zoom=zoom, batch=8, steps=4, trouble=trouble, lr=1e-3, end_lr=1e-4)
        for size, zoom, trouble in ((32, 2.0, 0.0), (64, 1.0, 0.5))
    )
    arch = ArchSpec(name="tiny", depths=(1, 1, 1, 1), dims=(8, 12, 16, 24))
    return script.Recipe(arch=arch, phases=phases, warmup=2)


def test_an_interrupted_run_ends_with_the_same_weights(script: ModuleType, recipe: object, tmp_path: Path) -> None:
    whole = script.train(recipe, tmp_path / "whole")
    script.train(recipe, tmp_path / "parts", stop_after=3, save_every=1)
    script.train(recipe, tmp_path / "parts", stop_after=6, save_every=2)  # into the second phase
    parts = script.train(recipe, tmp_path / "parts")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert script.grn_strength(whole) > 0


def test_a_checkpoint_of_another_recipe_is_not_continued(script: ModuleType, recipe: object, tmp_path: Path) -> None:
    script.train(recipe, tmp_path, stop_after=1, save_every=1)
    with pytest.raises(EdgecvxError, match="another recipe"):
        script.train(replace(recipe, seed=1), tmp_path)  # type: ignore[type-var]


def test_every_step_sees_new_pictures_and_the_rate_falls_within_each_phase(script: ModuleType) -> None:
    recipe = script.Recipe(arch=ArchSpec(name="tiny", depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)), phases=script.PHASES)
    steps = list(script.schedule(recipe))
    assert len(steps) == recipe.steps
    for step, following in itertools.pairwise(steps):
        assert following.first == step.first + step.phase.batch
    for phase in recipe.phases:
        rates = [step.lr for step in steps[recipe.warmup :] if step.phase == phase]
        assert rates == sorted(rates, reverse=True)
    assert steps[-1].lr < 1e-2 * steps[recipe.warmup].lr
    assert steps[-1].phase.size == script.PREPROCESS.size  # the last phase is at the size of use


def test_a_channel_that_is_zero_all_over_a_picture_does_not_end_the_run(script: ModuleType, recipe: object) -> None:
    for spared in (False, True):
        model = script.new_network(recipe)
        if spared:
            script.spare_silent_channels(model)
        with torch.no_grad():
            model.stages[3].blocks[0].mlp.fc1.bias[0] = -100  # GELU makes an exact zero of that
        model(torch.ones(1, 3, 64, 64)).sum().backward()
        finite = [bool(p.grad.isfinite().all()) for p in model.parameters()]
        assert all(finite) == spared


def test_the_written_file_holds_the_weights_in_half_precision_and_their_facts(
    script: ModuleType, recipe: object, tmp_path: Path
) -> None:
    model = script.new_network(recipe)
    file = script.export(model, recipe, tmp_path, pictures=24)
    again = script.export(model, recipe, tmp_path / "again", pictures=24)
    assert file.read_bytes() == again.read_bytes()
    with safetensors.safe_open(file, "pt") as content:
        facts = content.metadata()
        assert {content.get_tensor(name).dtype for name in content.keys()} == {torch.float16}  # noqa: SIM118
        assert set(content.keys()) == set(model.state_dict())
    assert facts["license"] == "Apache-2.0" and len(json.loads(facts["classes"])) == model.num_classes
    assert from_json(PreprocessSpec, json.loads(facts["preprocess"])) == script.PREPROCESS
    assert 0 <= float(facts["top1"]) <= 1 and facts["top1_pictures"] == "24"
