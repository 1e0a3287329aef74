"""What the page computes by itself, in Node: steady answers as the live app has them, the newest frame, short names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node import NODE, run_node

from edgecvx.runtimes.artifact import softmax
from edgecvx.web.files import SITE
from edgecvx_live import smoothing
from edgecvx_live.engine import SMOOTHING

pytestmark = pytest.mark.skipif(NODE is None, reason="no node in the path")

LOGITS = np.random.default_rng(3).normal(0, 3, (12, 7)).astype(np.float32)
TIMES = np.random.default_rng(4).uniform(0, 0.3, 12).cumsum()


def told(names: str, module: str, script: str, folder: Path) -> Any:
    """What a script says that has these names of a module of the site."""
    return run_node(f"const {{ {names} }} = await import({json.dumps((SITE / module).as_uri())});\n{script}", folder)


def averaged(seconds: float) -> list[list[float]]:
    """What the live app shows of these answers, with a cut before the seventh."""
    smoother, shown = smoothing.Smoother(seconds), []
    for index, (logits, at) in enumerate(zip(softmax(LOGITS.astype(np.float64)), TIMES, strict=True)):
        if index == 6:
            smoother.reset()
        shown.append(smoother.update(logits, at).tolist())
    return shown


def test_answers_are_steadied_as_in_the_live_app(tmp_path: Path) -> None:
    script = f"""
      const smoother = new Smoother(), times = {TIMES.tolist()};
      say({LOGITS.tolist()}.map((logits, i) => {{
        if (i === 6) smoother.reset();
        return [...smoother.update(softmax(Float32Array.from(logits)), times[i])];
      }}));"""
    shown = np.array(told("Smoother, softmax", "smoothing.js", script, tmp_path))
    assert np.abs(shown - averaged(SMOOTHING)).max() < 1e-12
    assert np.abs(shown - averaged(SMOOTHING * 1.1)).max() > 1e-3, "another constant would be seen"


def test_a_cut_is_what_it_is_in_the_live_app(tmp_path: Path) -> None:
    one, other = np.random.default_rng(5).integers(0, 256, (2, 12, 16, 4))
    script = f"say([CUT, difference({one.ravel().tolist()}, {other.ravel().tolist()})]);"
    cut, difference = told("CUT, difference", "smoothing.js", script, tmp_path)
    assert cut == smoothing.CUT
    assert difference == pytest.approx(np.abs(one - other)[..., :3].mean())


def test_the_newest_frame_wins_and_one_is_with_the_network_at_a_time(tmp_path: Path) -> None:
    """A camera of a frame in 10 ms and a network that takes 45: of five frames, the last is the one answered next."""
    script = """
      let now = 0, called = [], free = null;
      performance.now = () => now;
      const video = { currentTime: 0, requestVideoFrameCallback: (look) => called.push(look) };
      const taken = [];
      const frames = new Frames(video, (arrived) => (taken.push([arrived, now]), new Promise((done) => (free = done))));
      const settle = () => new Promise(setImmediate);
      frames.start();
      for (now = 10; now <= 300; now += 5) {
        if (now % 10 === 0) { video.currentTime = now; for (const look of called.splice(0)) look(); }
        if (free && now - taken.at(-1)[1] >= 45) { free(); free = null; }
        await settle();
      }
      frames.stop();
      const before = taken.length;
      video.currentTime = 999;
      for (const look of called.splice(0)) look();
      await settle();
      say({ taken, late: taken.length - before, asked: called.length });"""
    said = told("Frames", "frames.js", script, tmp_path)
    waits = [at - arrived for arrived, at in said["taken"]]
    pauses = np.diff([at for _, at in said["taken"]])
    assert max(waits) < 10, "there was a newer one"
    assert min(pauses) >= 45, "two at a time"
    assert max(pauses) <= 55, "the network waited for nothing"
    assert said["late"] == said["asked"] == 0, "a stop is one"


def test_a_frame_that_has_waited_for_longer_than_one_takes_is_left_for_the_next(tmp_path: Path) -> None:
    """As after a hiccup; without it, such a frame would be older than two inferences when it is answered."""
    script = """
      let now = 0, called = [], free = null;
      performance.now = () => now;
      const video = { currentTime: 0, requestVideoFrameCallback: (look) => called.push(look) };
      const taken = [];
      const frames = new Frames(video, (arrived) => (taken.push([arrived, now]), new Promise((done) => (free = done))));
      const at = async (time, act) => { now = time; act(); await new Promise(setImmediate); };
      const frame = () => { video.currentTime = now; for (const look of called.splice(0)) look(); };
      frames.start();
      await at(10, frame);
      await at(20, () => free());  // takes 10
      await at(30, frame);
      await at(32, frame);  // comes while it is busy
      await at(90, () => free());  // which a hiccup made long
      await at(95, frame);
      say(taken);"""
    assert told("Frames", "frames.js", script, tmp_path) == [[10, 10], [30, 30], [95, 95]]


def test_names_are_as_short_as_they_can_be_told_apart(tmp_path: Path) -> None:
    expected = {
        ("convnextv2_femto.fcmae-224-int8", "convnextv2_atto.fcmae-224-int8"): ["femto", "atto"],
        ("femto-224-int8", "femto-288-int8"): ["224", "288"],
        ("femto-224-int8",): ["femto-224-int8"],
        ("a.b", "a.b.b"): ["a.b", "a.b.b"],
        (): [],
    }
    script = f"say({json.dumps(list(expected))}.map(shortened));"
    assert told("shortened", "choices.js", script, tmp_path) == list(expected.values())
