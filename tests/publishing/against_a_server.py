"""Runs in a real tracking server on this machine, read back through its own HTTP interface, without MLflow's client.

``make mlflow-proof`` runs it, with the server in an environment of its own: MLFLOW_SERVER names its program. It is no
part of ``make test``, because a server and its database take half a minute to begin.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import benchmark_sample as sample
import pytest
from small_classifier import Exported

from edgecvx.cli import main as cli
from edgecvx.errors import PublishingError
from edgecvx.latency.bench import as_json
from edgecvx.manifest import manifest_path
from edgecvx.publishing.records import of_benchmark
from edgecvx.publishing.tracking import open_tracker

PROGRAM = os.environ.get("MLFLOW_SERVER", "")
pytestmark = pytest.mark.skipif(not PROGRAM, reason="MLFLOW_SERVER names no server: make mlflow-proof")
BEGINS_S = 300.0


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    address, places = f"http://127.0.0.1:{port}", ["--artifacts-destination", str(folder / "artifacts")]
    command = [PROGRAM, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *places]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", f"sqlite:///{folder}/runs.db"], stdout=log, stderr=log, cwd=folder
        )
    try:
        end = time.monotonic() + BEGINS_S
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            time.sleep(0.5)
        yield address, process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("server")) as (address, _):
        yield address


def asked(address: str, path: str, **body: Any) -> Any:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def runs(address: str, experiment: str) -> list[Any]:
    found = asked(address, "experiments/search", max_results=100)["experiments"]
    ids = [e["experiment_id"] for e in found if e["name"] == experiment]
    return list(asked(address, "runs/search", experiment_ids=ids, max_results=100).get("runs", []))


def artifact(address: str, run: Any, path: str) -> bytes:
    query = urllib.parse.urlencode({"path": path, "run_uuid": run["info"]["run_id"]})
    with urllib.request.urlopen(f"{address}/get-artifact?{query}", timeout=60) as answer:
        return bytes(answer.read())


def values(run: Any, kind: str) -> dict[str, Any]:
    return {entry["key"]: entry["value"] for entry in run["data"].get(kind, ())}


def test_validate_logs_what_its_json_says(server: str, small_classifier: Exported, tmp_path: Path) -> None:
    written = tmp_path / "accuracy.json"
    command = ["validate", str(small_classifier.path), "--checkpoint", str(small_classifier.checkpoint)]
    command += ["--limit", "24", "--json", str(written), "--mlflow", server, "--mlflow-experiment", "drawn"]
    assert cli.run(command) in (0, 1)
    (outcome,) = json.loads(written.read_text())["artifacts"]
    (run,) = runs(server, "drawn")
    assert run["info"]["status"] == "FINISHED"
    metrics = values(run, "metrics")
    right = outcome["top1"]["artifact"]
    expected = {"top1": right["value"], "top1_low": right["interval"]["low"], "top1_high": right["interval"]["high"]}
    assert {name: metrics[name] for name in expected} == expected
    assert values(run, "params")["sha256"] == outcome["identity"]["sha256"]
    beside = manifest_path(small_classifier.path)
    assert artifact(server, run, "accuracy.json") == written.read_bytes()
    assert artifact(server, run, beside.name) == beside.read_bytes()


def test_runs_of_several_files_lie_in_one(server: str) -> None:
    bench = sample.benchmark(sample.laptop())
    record = of_benchmark(bench, as_json(bench), [])
    parent = open_tracker(server, "bench").log(record)
    inside = [run for run in runs(server, "bench") if values(run, "tags").get("mlflow.parentRunId") == parent]
    expected = {child.name: child.numbers() for child in record.children}
    assert {run["info"]["run_name"]: values(run, "metrics") for run in inside} == expected


def test_a_server_that_goes_away_is_told_and_nothing_hangs(tmp_path: Path) -> None:
    bench = sample.benchmark(sample.laptop())
    with serving(tmp_path) as (address, process):
        tracker = open_tracker(address)
        process.terminate()
        process.wait(60)
        with pytest.raises(PublishingError, match=r"was not logged to .* the results stay where they are"):
            tracker.log(of_benchmark(bench, as_json(bench), []))
