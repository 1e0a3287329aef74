"""A runtime that does what a test tells it to, an order folder to run it from, and the runner as a process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from waiting import PATIENCE

from edgecvx.board import PROTOCOL
from edgecvx.latency.devices.job import runner_bytes
from edgecvx.spec import PreprocessSpec, to_json

SIZE = 32
CLASSES = 7

INTERPRETER = f'''
"""Stands where TFLite's interpreter would: its "model" is a JSON object that says how to behave."""
import json, os, signal, sys, time
import numpy as np

class OpResolverType:
    AUTO = BUILTIN_WITHOUT_DEFAULT_DELEGATES = 0

class Interpreter:
    def __init__(self, model_path, num_threads, experimental_op_resolver_type):
        self._how, self._runs = json.load(open(model_path)), 0
        os.write(1, b"native code talks here\\n")
        self._do(self._how.get("open"))

    def allocate_tensors(self):
        pass

    def get_input_details(self):
        return [{{"name": "image", "shape": (1, {SIZE}, {SIZE}, 3), "dtype": np.float32, "index": 0}}]

    def get_output_details(self):
        return [{{"name": "logits", "shape": (1, {CLASSES}), "dtype": np.float32, "index": 1}}]

    def set_tensor(self, index, batch):
        if batch.shape != (1, {SIZE}, {SIZE}, 3):
            raise ValueError("Cannot set tensor: Dimension mismatch")

    def invoke(self):
        self._runs += 1
        if self._runs > self._how.get("good_runs", 0):
            self._do(self._how.get("run"))

    def get_tensor(self, index):
        return np.arange({CLASSES}, dtype=np.float32)[None]

    def _do(self, what):
        if what == "crash":
            print("the last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        elif what == "hang":
            time.sleep(3600)
        elif what == "refuse":
            raise ValueError("this model is not\\nto my liking")
        elif what == "talk":
            os.write(1, b'{{"event": "done"}}\\n')
        elif what:
            time.sleep(float(what))
'''


def artifact(id: str, **changes: Any) -> dict[str, Any]:
    """An artifact of an order, for the runtime that does what it is told."""
    return {
        "id": id,
        "runtime": "tflite",
        "path": f"{id}/model.tflite",
        "threads": 1,
        "options": {"interpreter": "tflite_runtime"},
        "input": {"name": "image", "shape": [1, SIZE, SIZE, 3], "dtype": "float32", "layout": "NHWC"},
        "array": "inputs/0.npy",
        "preprocess": to_json(PreprocessSpec(size=SIZE)),
        "logits": "logits",
        **changes,
    }


def job(folder: Path, models: Mapping[str, Mapping[str, Any]], **changes: Any) -> Path:
    """Makes an order's folder; ``models`` says by id how each behaves. The path of ORDER.json."""
    for id, how in models.items():
        (folder / id).mkdir(parents=True)
        (folder / id / "model.tflite").write_text(json.dumps(how), encoding="utf-8")
    write_pictures(folder)
    (folder / "inputs").mkdir()
    np.save(folder / "inputs" / "0.npy", np.zeros((1, SIZE, SIZE, 3), np.float32))
    package = folder / "fake" / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "interpreter.py").write_text(INTERPRETER, encoding="utf-8")
    return write_order(folder, [artifact(id) for id in models], **changes)


def write_pictures(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (40 + 20 * number, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number}.jpg")


def write_order(folder: Path, artifacts: Sequence[Mapping[str, Any]], **changes: Any) -> Path:
    order = {
        "protocol": PROTOCOL,
        "artifacts": list(artifacts),
        "pictures": ["pictures/0.jpg", "pictures/1.jpg"],
        "rounds": 2,
        "runs": 4,
        "seconds": None,
        "end_to_end": False,
        "memory": False,
        "sustained_minutes": 0,
        # Runs of a runtime that does nothing never settle: patience ends the warm-up of these tests.
        "warm_up": {"window": 1, "tolerance": 0.0, "max_runs": 2, "max_seconds": 20},
        "seed": 0,
        "first_round": 0,
        "skip": {},
        "remove": False,
        "lifeline_seconds": PATIENCE,
        "patience_seconds": PATIENCE,
        **changes,
    }
    path = folder / "ORDER.json"
    path.write_text(json.dumps(order), encoding="utf-8")
    (folder / "edgecvx-runner.pyz").write_bytes(runner_bytes())
    return path


@contextmanager
def runner(
    order: Path, verb: str = "measure", environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The packed runner, started from a folder that has nothing to do with it; ended with the block."""
    paths = os.pathsep.join([str(order.parent / "fake")])
    process = subprocess.Popen(
        [sys.executable, str(order.parent / "edgecvx-runner.pyz"), verb, str(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={**os.environ, "PYTHONPATH": paths, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def next_event(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The next event; fails the test where the line is none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the runner ended without a word: " + errors_of(process)
    event: dict[str, Any] = json.loads(line)
    assert isinstance(event["event"], str)
    return event


def until(process: subprocess.Popen[bytes], name: str) -> dict[str, Any]:
    """Reads on to the next event of that name."""
    while True:
        event = next_event(process)
        if event["event"] == name:
            return event


def errors_of(process: subprocess.Popen[bytes]) -> str:
    """What the runner said on standard error; waits for its end."""
    assert process.stderr is not None
    return io.TextIOWrapper(process.stderr, errors="replace").read()


def measure(order: Path, environment: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Runs an order to its end; all events."""
    with runner(order, environment=environment) as process:
        assert process.stdout is not None
        events = [json.loads(line) for line in process.stdout]
        process.wait()
    return events


def names(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """The events' names, in order."""
    return [event["event"] for event in events]


def turns(events: Sequence[Mapping[str, Any]], kind: str = "model") -> list[str]:
    """Whose turns they were, in order."""
    return [event["id"] for event in events if event["event"] == "turn" and event["kind"] == kind]


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """Sends a signal and waits for the end."""
    process.send_signal(number)
    return process.wait()
