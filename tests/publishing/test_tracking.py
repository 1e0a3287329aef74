"""Runs arrive where they were sent and nowhere else; a server that is not there costs no work and loses no result."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import benchmark_sample as sample
import pytest
import tuned_sample
from commands import fails
from small_classifier import Exported

from edgecvx.cli import main as cli
from edgecvx.errors import PublishingError, RuntimeUnavailableError, UsageError
from edgecvx.latency.bench import as_json
from edgecvx.manifest import manifest_path
from edgecvx.publishing.records import RunRecord, of_benchmark, of_tuned
from edgecvx.publishing.tracking import open_tracker, shown

mlflow = pytest.importorskip("mlflow")  # the setting against its telemetry is made in conftest.py


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder that MLflow's own client keeps runs in."""
    return tmp_path / "runs"


def runs(store: Path) -> list[Any]:
    """What is there, the oldest first."""
    client = mlflow.MlflowClient(store.absolute().as_uri())
    experiments = [e.experiment_id for e in client.search_experiments() if e.name == "edgecvx"]
    return list(reversed(client.search_runs(experiments)))


def artifacts(store: Path, run: Any) -> dict[str, bytes]:
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_validate_logs_a_run_with_what_its_files_say(
    small_classifier: Exported, store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    asked = ["validate", str(small_classifier.path), "--checkpoint", str(small_classifier.checkpoint), "--limit", "24"]
    code = cli.run([*asked, "--json", "-", "--html", str(page), "--mlflow", str(store)])
    printed = capfd.readouterr()
    result = json.loads(printed.out)  # nothing else was printed there
    (outcome,) = result["artifacts"]
    assert code in (0, 1)
    (run,) = runs(store)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["top1"] == outcome["top1"]["artifact"]["value"]
    assert run.data.metrics["top1_low"] == outcome["top1"]["artifact"]["interval"]["low"]
    assert run.data.params["sha256"] == outcome["identity"]["sha256"]
    assert run.data.tags["verdict"] == outcome["verdict"]["kind"]
    beside = manifest_path(small_classifier.path)
    assert artifacts(store, run) == {
        "accuracy.json": printed.out.encode(),
        "report.html": page.read_bytes(),
        beside.name: beside.read_bytes(),
    }


def test_runs_of_several_files_lie_in_one(store: Path) -> None:
    bench = sample.benchmark(sample.laptop())
    parent = open_tracker(str(store)).log(of_benchmark(bench, as_json(bench), []))
    found = runs(store)
    inside = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent]
    measured = bench.devices[0].measured
    assert len(inside) == len(found) - 1 == len(measured)
    assert sum("p50_ms" in run.data.metrics for run in inside) == sum(m.model_summary is not None for m in measured)


def test_the_file_a_search_ships_arrives_byte_for_byte(store: Path, tmp_path: Path) -> None:
    (tmp_path / "ship").mkdir()
    (tmp_path / "ship" / "femto.onnx").write_bytes(bytes(range(256)))
    parent = open_tracker(str(store), "search").log(of_tuned(tuned_sample.tuned(), "{}", tmp_path))
    run = mlflow.MlflowClient(store.absolute().as_uri()).get_run(parent)
    assert artifacts(store, run)["ship/femto.onnx"] == bytes(range(256))


@pytest.mark.parametrize(
    "address",
    [
        *("", "ftp://host", "localhost:5000", "http://", "http:/host", "postgresql://u:secret@host/db", "models:/a"),
        *("http://me:secret@[::1", "http://me:sec/secret@host", "http://host:port", "me:secret@host:5000"),
        *("https:/me:secret@host", "http:me:secret@host", "ftp://host/?token=secret"),
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address of a tracking server") as caught:
        open_tracker(address)
    assert "secret" not in str(caught.value)


def test_an_experiment_without_a_server_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    line = fails(["bench", "a.onnx", "--mlflow-experiment", "mine"], capfd)
    assert "--mlflow-experiment mine goes with --mlflow" in line


@pytest.mark.parametrize(
    "verb",
    [["validate", "a.onnx"], ["bench", "a.onnx"], ["sweep", "a.toml"], ["tune", "femto", "--target", "onnx"]],
    ids=lambda verb: str(verb[0]),
)
def test_a_server_that_is_not_there_is_told_before_any_work(verb: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """The files named do not exist either, which would be the error if work had begun."""
    line = fails([*verb, "--mlflow", "http://me:secret@127.0.0.1:9"], capfd)
    assert "no runs can be logged to http://127.0.0.1:9: no tracking server answers there" in line


@pytest.fixture
def another_server() -> Iterator[str]:
    """One that answers, and is no tracking server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_an_experiment_that_was_deleted_is_told_before_any_work(store: Path) -> None:
    tracker = open_tracker(str(store), "birds")
    tracker.client.delete_experiment(tracker.experiment)
    with pytest.raises(UsageError, match=r"experiment 'birds' was deleted in .*: restore it, or name another"):
        open_tracker(str(store), "birds")


def test_a_database_takes_more_than_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    with pytest.raises(RuntimeUnavailableError, match="sqlalchemy is not installed here: pip install mlflow"):
        open_tracker(f"sqlite:///{tmp_path}/runs.db")


def test_a_run_that_somebody_stops_does_not_seem_to_go_on(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(mlflow.MlflowClient, "log_text", stopped)
    with pytest.raises(KeyboardInterrupt):
        open_tracker(str(store)).log(RunRecord(name="a", texts={"a.json": "{}"}))
    (run,) = runs(store)
    assert run.info.status == "FAILED"


def test_a_server_of_another_kind_is_told(another_server: str) -> None:
    with pytest.raises(PublishingError, match=f"no runs can be logged to {another_server}"):
        open_tracker(another_server)


def test_where_the_server_goes_away_the_results_stay(
    small_classifier: Exported,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise mlflow.exceptions.MlflowException("API request to http://me:secret@host failed")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", gone)
    written = tmp_path / "accuracy.json"
    asked = ["validate", str(small_classifier.path), "--checkpoint", str(small_classifier.checkpoint), "--limit", "8"]
    assert cli.run([*asked, "--json", str(written), "--mlflow", str(store)]) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "' was not logged to " in line
    assert "no tracking server answers there; the results stay where they are (see docs/publishing.md" in line
    assert "secret" not in line
    assert json.loads(written.read_text())["artifacts"]
    (run,) = runs(store)
    assert run.info.status == "FAILED"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://me:secret@host:5000/a", "http://host:5000/a"),
        ("http://me:of@secret/s@host", "http://host"),
        ("https://host/?token=secret", "https://host/"),
        ("https://host", "https://host"),
        ("me:secret@host", "host"),
        ("some/folder@home", "some/folder@home"),
        ("file:///home/a@b", "file:///home/a@b"),
    ],
)
def test_an_address_is_shown_without_its_password(address: str, told: str) -> None:
    assert shown(address) == told


WATCHED = """
import sys
asked = []
def watch(event, args):
    if event == "socket.getaddrinfo" or event == "socket.connect" and isinstance(args[1], tuple):
        asked.append(event)
        raise PermissionError(event)
sys.addaudithook(watch)
{begin}
from mlflow.telemetry import get_telemetry_client
print(get_telemetry_client() is None, len(asked))
"""
OURS = """
from edgecvx.publishing.records import RunRecord
from edgecvx.publishing.tracking import open_tracker
open_tracker(sys.argv[1]).log(RunRecord(name="a", metrics={"top1": 0.5}))
"""
SIGNS = ("PYTEST_CURRENT_TEST", "GITHUB_ACTIONS", "CI", "MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
"""Of a test or a user who wants none, by which MLflow leaves it off by itself."""


@pytest.mark.parametrize(("begin", "silent"), [(OURS, True), ("import mlflow", False)], ids=["ours", "mlflow alone"])
def test_mlflow_tells_its_makers_nothing(begin: str, silent: bool, store: Path) -> None:
    """On a machine where nobody set anything; imported by itself it has what tells them."""
    environment = {name: value for name, value in os.environ.items() if name not in SIGNS}
    command = [sys.executable, "-c", WATCHED.format(begin=begin), str(store)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    off, asked = done.stdout.split()
    assert (off == "True") is silent
    if silent:
        assert asked == "0"


def test_a_run_takes_more_parameters_than_one_request(store: Path) -> None:
    record = RunRecord(name="many", params={f"p{i}": i for i in range(230)}, metrics={f"m{i}": i for i in range(1100)})
    open_tracker(str(store)).log(record)
    (run,) = runs(store)
    assert (len(run.data.params), len(run.data.metrics)) == (230, 1100)
