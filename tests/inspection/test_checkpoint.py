"""What a checkpoint's tensors look like to INT8: the figures, the layers that would be float, and the sentences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import support
from calibrated import point_of
from safetensors.torch import save_file
from zoo import MEMBERS, plant, write

from edgecvx.errors import CheckpointError, UsageError
from edgecvx.graph.scheme import Role, role_of
from edgecvx.inspection.checkpoint import Examination, LayerReport, OutlierChannel, Seen, examine, seen_of
from edgecvx.quantize import judge
from edgecvx.quantize.plan import Arithmetic, Left
from edgecvx.quantize.planning import FEWEST, HELD_OUT
from edgecvx.spec import Precision, Task
from edgecvx.targets import all_targets

ENOUGH_TO_JUDGE = FEWEST * HELD_OUT


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "birds.safetensors"
    save_file(support.network().state_dict(), str(path))
    return path


@pytest.fixture(scope="module")
def found(checkpoint: Path) -> Examination:
    return examine(checkpoint, image_size=32, calib_samples=ENOUGH_TO_JUDGE)


def test_every_layer_is_there_in_the_order_of_the_graph(found: Examination) -> None:
    names = [layer.name for layer in found.layers]
    assert (names[0], names[1], names[-1]) == ("stem.0", "stages.0.blocks.0.conv_dw", "logits")
    assert len(names) == 1 + 3 * sum(support.SMALL.depths) + 3 + 1
    assert [layer.reads.channels for layer in found.layers[:3]] == [3, 8, 8]
    assert all(layer.reads.over_rms > 1 and layer.returns.over_rms > 1 for layer in found.layers)
    assert {role_of(layer.name) for layer in found.layers if layer.smoothed} <= {Role.FC1, Role.FC2, Role.DOWNSAMPLE}


def test_every_target_with_scales_from_pictures_is_named_once(found: Examination) -> None:
    named = [name for share in found.targets for name in share.targets]
    assert sorted(named) == sorted(t.name for t in all_targets() if Precision.INT8 in t.schemes)
    for share in found.targets:
        assert 0 < share.int8_share <= 1
        assert (share.int8_share < 1) == bool(share.floats)


def test_the_answers_are_judged_and_said(found: Examination) -> None:
    assert found.judged is not None and found.judged.pictures == FEWEST
    answers, layers, *shares = found.summary
    assert f"{found.judged.inputs:.1f} dB, {found.judged.outputs:.1f} where layers return" in answers
    assert f"{len(found.layers)} layers" in layers
    assert all("of the multiply-accumulates in INT8" in share for share in shares)
    assert any("calibrated on drawn pictures" in warning for warning in found.warnings)


def test_what_does_not_hold_is_said_once(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the summary, with what to do; not among the warnings too."""
    monkeypatch.setattr(judge, "HOLDS", 100.0)
    found = examine(checkpoint, image_size=32, calib_samples=ENOUGH_TO_JUDGE)
    assert found.doubt is not None and found.summary[0] == f"{found.doubt}."
    assert "take --precision int8-dynamic" in found.doubt and "--statistics" not in found.doubt
    assert found.doubt not in found.warnings


def test_too_few_pictures_are_said(checkpoint: Path) -> None:
    found = examine(checkpoint, image_size=32, calib_samples=2)
    assert found.judged is None and "2 pictures are too few, 68 are enough" in found.summary[0]


def test_random_weights_have_no_answers() -> None:
    found = examine("test_convnext2", weights="random", image_size=32, calib_samples=2)
    assert found.judged is None and "random weights answer nothing" in found.summary[0]


def test_a_backbone_without_a_classifier_is_looked_at_too(tmp_path: Path) -> None:
    save_file(support.network(num_classes=0).state_dict(), str(tmp_path / "backbone.safetensors"))
    found = examine(tmp_path / "backbone.safetensors", image_size=32, calib_samples=2)
    assert found.task is Task.EMBED and found.layers[-1].name.endswith(".mlp.fc2")


def test_a_raised_channel_is_found_where_it_is_read(tmp_path: Path) -> None:
    planted = plant("atto", MEMBERS["raised-s3-1000"], size=64, pictures=4)
    channel = int(planted.get_parameter("stages.3.downsample.1.bias").abs().argmax())
    found = examine(write(planted, tmp_path / "raised"), image_size=64, calib_samples=12)
    layers = {layer.name: layer for layer in found.layers}
    read = layers["stages.3.blocks.0.conv_dw"]
    assert [outlier.channel for outlier in read.reads.outliers] == [channel]
    assert read.reads.over_rms > 200 and layers["stages.2.blocks.0.conv_dw"].reads.over_rms < 30
    assert read.arithmetic is Arithmetic.FLOAT and read.left.input < 0
    assert f"dB of what it reads, and 22 are needed; channel {channel} reaches" in read.why
    returned = layers["stages.3.downsample.1"]
    assert returned.arithmetic is Arithmetic.FLOAT_OUTPUT and f"channel {channel} reaches" in returned.why
    asked = {target.name for target in all_targets() if target.schemes[Precision.INT8].quantizes(read.name)}
    shares = [share for share in found.targets if asked & set(share.targets)]
    assert len(shares) > 1 and all(read.name in share.floats for share in shares)


def test_a_missing_checkpoint_and_a_damaged_one_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint.read_bytes()[:-1000])
    for path in (cut, tmp_path / "nowhere.safetensors"):
        with pytest.raises((CheckpointError, UsageError), match=path.name):
            examine(path)


# One tensor


def rows_of(*channels: float) -> Seen:
    """What is said of channels that are plus or minus one value each."""
    signs = np.where(np.arange(64) % 4 < 2, 1, -1)[:, None]
    return seen_of(point_of((signs * np.asarray(channels)[None, :]).astype(np.float32)))


def test_loud_channels_raise_the_range_and_not_the_root_mean_square() -> None:
    plain, loud = rows_of(1, 2, 1, 2, 1), rows_of(1, 2, 1, 2, 50)
    # The furthest pixel of each half counts beside the sample it is in: a mean square of 1 + 1/32 in place of 1.
    assert plain.over_rms == pytest.approx(4 / 1, rel=0.03) and loud.over_rms == pytest.approx(100 / 2, rel=0.03)
    assert not plain.outliers and loud.outliers == (OutlierChannel(channel=4, times=25.0),)


def test_outliers_come_in_the_order_of_their_reach() -> None:
    assert [o.channel for o in rows_of(30, 1, 1, -60, 1, 1, 1, 10).outliers] == [3, 0]


def test_channels_that_are_always_zero_do_not_count() -> None:
    assert rows_of(0, 0, 0, 0, 0, 2, 2, 2).outliers == ()
    assert rows_of(0, 0).over_rms == 0 and rows_of(0, 0).outliers == ()


def test_a_range_has_zero_in_it() -> None:
    """As every grid has."""
    assert seen_of(point_of(np.full((8, 4), 3.0, np.float32))).over_rms == pytest.approx(1, abs=0.2)


# One sentence


def layer_of(arithmetic: Arithmetic, **left: float) -> LayerReport:
    seen = rows_of(1, 1, 1, 1, 1, 1, 1)
    return LayerReport(
        name="stages.0.blocks.0.conv_dw",
        reads=replace(seen, outliers=tuple(OutlierChannel(channel=c, times=90.0 - c) for c in range(6))),
        returns=seen,
        left=Left(**{"input": 40.0, "weights": 40.0, "output": 40.0, **left}),
        arithmetic=arithmetic,
        reason="because",
        smoothed=False,
    )


def test_the_channels_of_the_tensor_in_question_are_named() -> None:
    named = "is float: because; channels 0, 1, 2, 3 and 2 more reach up to 90 times as far as the median one"
    assert layer_of(Arithmetic.FLOAT, input=3.0).why == named
    assert layer_of(Arithmetic.FLOAT, weights=3.0).why == "is float: because"
    assert layer_of(Arithmetic.FLOAT_OUTPUT, output=3.0).why == "because"


def test_layers_are_counted_by_what_made_them_float(found: Examination) -> None:
    layers = (
        *(layer_of(Arithmetic.FLOAT, input=3.0), layer_of(Arithmetic.FLOAT, weights=3.0)),
        *(layer_of(Arithmetic.FLOAT), layer_of(Arithmetic.FLOAT_OUTPUT, output=3.0)),
    )
    assert replace(found, layers=layers).summary[1] == (
        "Of 4 layers 3 are float (1 for what they read, 1 for their weights, 1 for the answers, which did not hold "
        "without) and 1 returns floats (1 for what they return): a tensor needs 22 dB."
    )
