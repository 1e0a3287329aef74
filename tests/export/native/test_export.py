"""From a checkpoint to a model and its engine, proved, as a user asks for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from native_artifacts import exported_again
from PIL import Image

import edgecvx
from edgecvx.data import demo
from edgecvx.errors import UsageError
from edgecvx.export.native.parser import read
from edgecvx.files import file_sha256, verify_files
from edgecvx.native.platforms import this_platform
from edgecvx.pipeline import Exported as Written
from edgecvx.pipeline import export

if TYPE_CHECKING:
    from small_classifier import Exported

pytestmark = pytest.mark.usefixtures("native_library")
HERE = this_platform()


def written(out: Path, **more: object) -> Written:
    how = {"weights": "demo", "image_size": 64, "calib_samples": 16, "precision": "int8", **more}
    (artifact,) = export("atto", target="native", out=out, **how).artifacts  # type: ignore[arg-type]
    return artifact


def test_an_artifact_is_a_model_and_a_library_and_a_manifest_with_both_hashes(native_classifier: Exported) -> None:
    path, manifest = native_classifier.path, native_classifier.manifest
    stem = path.name.removesuffix(".ecvx")
    library = f"{stem}{HERE.suffixes[0]}"
    assert [entry.path for entry in manifest.files] == [path.name, library]
    assert [entry.sha256 for entry in manifest.files] == [file_sha256(path.with_name(n)) for n in (path.name, library)]
    verify_files(manifest, path.parent)
    assert (manifest.target, manifest.runtime, manifest.format) == ("native", "native", "native")
    assert "ziglang" in manifest.tools, "the library depends on who compiled it"


def test_it_was_run_and_held_to_its_plan_before_it_was_handed_over(native_classifier: Exported) -> None:
    check, quantized = native_classifier.manifest.self_check, native_classifier.manifest.quantized
    assert check.runtime == f"native edgecvx {edgecvx.__version__}"
    assert check.against == "plan"
    assert check.max_error <= check.limit
    assert quantized is not None
    assert quantized.int8_macs is not None and quantized.int8_macs > 0.7


def test_a_real_network_names_what_is_drawn(tmp_path: Path) -> None:
    artifact = written(tmp_path, image_size=128)
    drawn = [demo.picture(index, size=128) for index in range(24)]
    with edgecvx.load(artifact.path) as opened:
        ranked = opened.predict([Image.fromarray(pixels) for pixels, _ in drawn], top=1)
    right = sum(first.label == demo.CLASSES[label] for (first,), (_, label) in zip(ranked, drawn, strict=True))
    assert right >= 9, f"{right} of 24, one of each class; FP32 knows 12 at a third of the pixels it was trained at"


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_nobody_else_may_write_what_will_be_loaded_as_code(native_classifier: Exported, tmp_path: Path) -> None:
    """Whatever the user's umask: a library that others could have written is not loaded again."""
    before = os.umask(0)
    try:
        artifact = exported_again(native_classifier, tmp_path)
    finally:
        os.umask(before)
    for entry in artifact.manifest.files:
        assert (tmp_path / entry.path).stat().st_mode & 0o022 == 0
    edgecvx.load(artifact.path).close()


def test_a_file_for_another_platform_is_proved_here_all_the_same(native_classifier: Exported, tmp_path: Path) -> None:
    artifact = exported_again(native_classifier, tmp_path, platforms="aarch64-ios")
    stem = artifact.path.name.removesuffix(".ecvx")
    names = [entry.path for entry in artifact.manifest.files]
    assert names == [f"{stem}{ending}" for ending in (".ecvx", ".aarch64-ios.c", ".aarch64-ios.h")]
    assert artifact.manifest.self_check == native_classifier.manifest.self_check
    assert artifact.path.read_bytes() == native_classifier.path.read_bytes()


def test_labels_and_preprocessing_are_in_the_file_itself(native_classifier: Exported) -> None:
    described = read(native_classifier.path)
    assert described.labels == tuple(demo.CLASSES)
    assert described.preprocess == native_classifier.manifest.model.preprocess


def test_there_is_no_float_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="target native has no fp32: it has int8; fp32 is in onnx"):
        written(tmp_path / "out", precision="fp32")
    assert not (tmp_path / "out").exists()
