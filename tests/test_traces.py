"""What a run leaves behind but its files: nothing, for nobody. Runtimes that report to their makers are told not to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from edgecvx.data import demo

for package in ("onnxruntime", "openvino", "coremltools"):
    pytest.importorskip(package)

REPORT = """
import importlib.abc, sys
class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "openvino_telemetry":
            print("asked for", name, file=sys.stderr)
sys.meta_path.insert(0, Watch())
from edgecvx.__main__ import main
main()
"""


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A home and a temporary folder of their own."""
    made = {name: tmp_path / name for name in ("HOME", "TMPDIR")}
    for place in made.values():
        place.mkdir()
    return made


def run(places: dict[str, Path], *words: str) -> str:
    """One command as a user's shell starts it: without what the tests switch off."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")}
    env = {**kept, **{name: str(place) for name, place in places.items()}}
    done = subprocess.run([sys.executable, "-c", REPORT, *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def left(places: dict[str, Path]) -> list[str]:
    """Every file but those of edgecvx's own cache."""
    found = [p.relative_to(place) for place in places.values() for p in place.rglob("*") if not p.is_dir()]
    return [str(p) for p in found if p.parts[:2] != (".cache", "edgecvx")]


def test_nothing_stays_and_nothing_is_reported(places: dict[str, Path], tmp_path: Path) -> None:
    """OpenVINO would write a client's number into the home folder, ONNX Runtime a data base of events, both to report
    them; coremltools keeps a copy of every package until Python ends.
    """
    out, picture = tmp_path / "out", tmp_path / "picture.png"
    Image.fromarray(demo.picture(0)[0]).save(picture)
    told = run(places, "doctor")
    told += run(places, "export", "atto", "--weights", "demo", "-t", "onnx,openvino,coreml", "--out", str(out))
    for suffix in (".onnx", ".xml"):
        told += run(places, "predict", str(next(out.glob(f"*{suffix}"))), str(picture))
    assert "asked for" not in told
    assert left(places) == []
