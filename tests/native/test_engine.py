"""Whole networks through the engine's library, on every set of kernels that this processor has.

Each layer is held to the reference on the engine's own inputs (``tools/native_proof/native_networks.py`` has the
tolerances and their reasons), so that a constant that is a little off is noticed where it stands.
"""

from __future__ import annotations

from pathlib import Path

import native_programs as programs
import numpy as np
import pytest
from ecvx_networks import image_of, random_description
from native_engine import Engine, EngineError
from native_networks import FLOATS, faults, first_classes, kept, narrowed, tapped

from edgecvx.export.native.description import Description
from edgecvx.export.native.writer import write
from edgecvx.spec import InputKind, Task

SEEDS = range(12)
FUSED = ("-fexpensive-optimizations",)
"""With which gcc multiplies and adds in one operation, as it does in a build that ships."""


@pytest.fixture(scope="module")
def engine() -> Engine:
    if not programs.here():
        pytest.skip("there is no C compiler")
    return Engine(programs.library(*FUSED))


def test_every_layer_of_random_networks_is_the_references_on_every_set_of_kernels(engine: Engine) -> None:
    assert engine.kernels[-1] == "portable"
    assert faults(engine, SEEDS) == []


@pytest.mark.parametrize("task", Task)
def test_networks_of_floats_are_the_references_from_end_to_end(engine: Engine, task: Task) -> None:
    assert faults(engine, range(20, 24), task=task, integers=0.0) == []


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "silu"])
def test_so_are_all_activation_functions_with_every_layer_in_integers(engine: Engine, activation: str) -> None:
    assert faults(engine, [30, 31], activation=activation, integers=1.0) == []


def answers(engine: Engine, described: Description, seed: int) -> set[bytes]:
    """Of all sets of kernels, with every inner tensor."""
    file, images = write(tapped(described)), image_of(described, seed, pictures=2)
    return {b"".join(map(np.ndarray.tobytes, engine.answer(file, images, kernels))) for kernels in engine.kernels}


@pytest.mark.parametrize("integers", [1.0, 0.7, 0.0], ids=["integers", "both", "floats"])
def test_a_network_answers_the_same_bits_on_every_set_of_kernels(engine: Engine, integers: float) -> None:
    """Also where layers are of floats."""
    assert all(len(answers(engine, random_description(seed, integers=integers), seed)) == 1 for seed in SEEDS)


ONE_BY_ONE = {
    "a sum's order is as long as a vector": ("algorithm.h", "s[i] += s[i + half]", "s[i] += s[2 * half - 1 - i]"),
    "weights of floats have all their digits": ("network.c", "arena->base && !l->integers", "0"),
}
"""What would make sums others where vectors are longer, or where a processor multiplies and adds in one operation."""


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_that_takes_all_of_this(engine: Engine, tmp_path: Path, name: str) -> None:
    if len(engine.kernels) == 1:
        pytest.skip("this processor has portable kernels alone")
    other = Engine(programs.library(*FUSED, folder=programs.broken(tmp_path, *ONE_BY_ONE[name])))
    made = (random_description(seed, integers=float("order" in name)) for seed in SEEDS)
    assert any(len(answers(other, described, seed)) > 1 for seed, described in zip(SEEDS, made, strict=True))


def test_the_first_class_is_the_references(engine: Engine) -> None:
    """In all but one picture of 30, whose two best classes may be as near as int8 rounds."""
    same, total = first_classes(engine, range(10))
    assert same >= total - 1


@pytest.mark.parametrize("seed", [0, 3, 7, 8])
def test_more_threads_give_the_same_bits(engine: Engine, seed: int) -> None:
    described = tapped(random_description(seed))
    images = image_of(described, seed, pictures=3)
    for kernels in engine.kernels:
        for file in (write(described), write(narrowed(described))):
            one, two, five = (engine.answer(file, images, kernels, threads) for threads in (1, 2, 5))
            for a, b, c in zip(one, two, five, strict=True):
                assert a.tobytes() == b.tobytes() == c.tobytes()


@pytest.mark.parametrize("kind", InputKind)
def test_pictures_that_go_together_get_the_answers_that_each_gets_alone(engine: Engine, kind: InputKind) -> None:
    described = tapped(random_description(40, input_kind=kind, batch=2))
    images = image_of(described, 40, pictures=3)
    with engine.opened(write(described)) as handle:
        together = handle.run(images)
        alone = [handle.run(images[index : index + 1]) for index in (2, 0, 1)]
        assert [array.shape[0] for array in handle.run(images[:0])] == [0] * len(together)
    for index, array in enumerate(together):
        assert np.concatenate([alone[1][index], alone[2][index], alone[0][index]]).tobytes() == array.tobytes()


def test_a_file_is_described_as_it_was_written(engine: Engine) -> None:
    described = tapped(random_description(41, task=Task.CLASSIFY, classes=10, labelled=True, batch=3))
    with engine.opened(write(described), "portable") as handle:
        info = handle.info
        assert (info.name.decode(), info.license.decode()) == (described.name, described.license)
        assert (info.kernels, tuple(info.input.shape)) == (b"portable", (3, *[described.preprocess.size] * 2, 3))
        assert [info.label[index].decode() for index in range(info.labels)] == list(described.labels)
        assert handle.names == ["logits", *(tap.name for tap in described.taps)]
        assert info.weight_bytes > 0 and info.arena_bytes > 0 and 0 <= info.int8_macs <= 1


def test_kernels_that_are_not_here_are_refused_in_one_sentence(engine: Engine) -> None:
    with pytest.raises(EngineError, match=r"^there are no kernels of this name for this processor$"):
        engine.answer(write(random_description(0)), np.zeros(0), "mmx")


@pytest.mark.parametrize("fitting", [False, True])
def test_avx2_multiplies_bytes_where_no_sum_can_overflow_and_16_bits_elsewhere(engine: Engine, fitting: bool) -> None:
    if "avx2" not in engine.kernels:
        pytest.skip("this processor has no AVX2")
    described = random_description(3, integers=1.0)
    with engine.opened(write(narrowed(described) if fitting else described), "avx2") as handle:
        assert handle.info.kernels == (b"avx2" if fitting else b"avx2wide")


BROKEN = {
    "GELU's first coefficient": ("network.c", "{30028, ", "{30128, ", "activation"),
    "the zero point": ("algorithm.h", "(-total * (l->zero", "(-total * (1 + l->zero", "stem"),
    "the border of a map": ("run.c", "t->kernel / 2, width_of", "t->kernel / 2 - 1, width_of", "depthwise"),
    "rows of zeros above a map": ("run.c", "larger(0, border - y)", "larger(0, border + 1 - y)", "depthwise"),
    "GRN's mean": ("run.c", "sum[3]) / hidden)", "sum[3]) / hidden * 1.02)", "sum"),
    "16 bits of a factor": ("run.c", "height * 32768.0f;", "height * 32000.0f;", "sum"),
    "a row of a downsample": ("run.c", "(2 * y + i / 2) * before", "(2 * y + i % 2) * before", "downsample"),
    "a norm's epsilon": ("network.c", ".epsilon = n->epsilon,", ".epsilon = 0.001f,", "stem"),
}
"""File, what stands there, what shall, and the layer in which it has to be noticed."""


@pytest.mark.parametrize("name", BROKEN)
def test_an_engine_with_one_number_changed_is_noticed_in_that_layer(tmp_path: Path, name: str) -> None:
    source, right, wrong, layer = BROKEN[name]
    folder = programs.broken(tmp_path, source, right, wrong)
    engine = Engine(programs.library(*programs.PLAIN, folder=folder))
    found = faults(engine, range(3), activation="gelu", grn=True, integers=1.0)
    assert any(f"{layer}:" in fault for fault in found), found


def test_the_same_portable_engine_unbroken_is_not(tmp_path: Path) -> None:
    engine = Engine(programs.library(*programs.PLAIN))
    assert engine.kernels == ("portable",)
    assert faults(engine, range(3), activation="gelu", grn=True, integers=1.0) == []


def test_the_measure_tells_near_from_far() -> None:
    exact = np.random.default_rng(0).standard_normal(1000)
    assert kept(exact, exact) > FLOATS > kept(exact + 0.01, exact) > 35
    assert kept(np.full(1000, np.nan), exact) < 0
