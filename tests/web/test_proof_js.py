"""Whether a browser computes the same is decided as a board decides it: the same arithmetic, in JavaScript."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node import NODE, run_node
from numpy.typing import NDArray
from web_sites import SITE

from edgecvx.board.device.processors import Processor
from edgecvx.board.pictures import normalize
from edgecvx.board.proof import Proof, difference, expected
from edgecvx.data.probe import probe_pictures
from edgecvx.spec import PreprocessSpec, to_json

pytestmark = pytest.mark.skipif(NODE is None, reason="no node in the path")
PROCESSOR = Processor(name="here", machine="x86_64", kind="AVX2", instructions=())


def asked(folder: Path, proof: Proof, answers: dict[str, NDArray[Any]]) -> Any:
    """What ``difference`` says in JavaScript; infinite is None."""
    for name, array in answers.items():
        array.astype(np.float32).tofile(folder / name)
    script = f"""
      const {{ difference, refusal: sentence }} = await import("{SITE.as_uri()}/proof.js");
      const proof = {json.dumps(to_json(proof))};
      const answers = new Map({json.dumps(list(answers))}.map((name) => [name, floats(name)]));
      const worst = difference(proof, answers), again = difference(proof, Object.fromEntries(answers));
      const same = worst.error === again.error;
      say({{ ...worst, same, sentence: sentence("a.ecvx", "simd128", proof, worst, 0.012345) }});
    """
    return run_node(script, folder)


@pytest.mark.parametrize("size", [1, 2, 24, 32, 33, 64, 65, 1000])
def test_the_difference_is_the_boards(tmp_path: Path, size: int) -> None:
    """Also where a place to look at lies between two numbers, and is rounded to the even one."""
    draw = np.random.default_rng(size)
    there = {name: draw.normal(size=(5, size)).astype(np.float32) for name in ("a", "b")}
    here = {name: array + draw.normal(scale=0.01, size=(5, size)).astype(np.float32) for name, array in there.items()}
    proof = Proof(PROCESSOR, "native", tuple(expected(name, array, array) for name, array in there.items()))
    name, error = difference(proof, here)
    found = asked(tmp_path, proof, here)
    assert found["output"] == name and found["same"]
    assert found["error"] == pytest.approx(error, rel=1e-9)
    assert difference(proof, {**here, "a": np.roll(here["a"], 1, axis=0)})[1] > 10 * error


def test_what_is_missing_of_another_shape_or_no_number_is_infinitely_far(tmp_path: Path) -> None:
    there = np.arange(20, dtype=np.float32).reshape(5, 4)
    proof = Proof(PROCESSOR, "native", (expected("a", there, there),))
    assert asked(tmp_path, proof, {"a": there})["error"] == 0
    broken = there.copy()
    broken[2, 3] = np.nan
    for wrong in ({}, {"a": there[:, :3]}, {"a": there[:3]}, {"a": broken}):
        found = asked(tmp_path, proof, wrong)
        assert (found["output"], found["error"]) == ("a", None)
        assert found["sentence"] == (
            "a.ecvx computes something else in this browser (simd128) than where it was proved (AVX2): "
            "output 'a' is missing, of another shape, or holds numbers that are not finite"
        )
    assert asked(tmp_path, proof, {"a": there + 3})["sentence"].endswith(
        "output 'a' is off by 0.16 of its range, allowed is 0.012"
    )


def test_probe_pictures_are_prepared_as_for_every_other_device(tmp_path: Path) -> None:
    pixels, spec = probe_pictures(32), PreprocessSpec(size=32)
    pixels.tofile(tmp_path / "probes")
    script = f"""
      const {{ probeInput }} = await import("{SITE.as_uri()}/proof.js");
      const pixels = new Uint8Array(read("probes"));
      write("input", probeInput(pixels, "float32", {json.dumps(to_json(spec))}));
      say(probeInput(pixels, "uint8", {json.dumps(to_json(spec))}) === pixels);
    """
    assert run_node(script, tmp_path) is True
    assert (tmp_path / "input").read_bytes() == normalize(pixels, spec).tobytes()
