"""``edgecvx bench`` as it is typed: exit codes, one line per error, one JSON object, tables of one device each."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scripted
import support
from commands import fails
from safetensors.torch import save_file

from edgecvx.cli import main as cli
from edgecvx.cli import show
from edgecvx.latency import bench as core
from edgecvx.latency.bench import read_json
from edgecvx.manifest import manifest_path
from edgecvx.report.forms.terminal import benchmark_terminal


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = folder / "birds.safetensors"
    save_file(support.network(num_classes=5).state_dict(), str(checkpoint))
    arguments = ["export", str(checkpoint), "-t", "onnx", "--image-size", "64", "--out", str(folder)]
    assert cli.run(arguments) == 0
    return next(folder.glob("*.onnx"))


@pytest.fixture
def other(exported: Path, tmp_path: Path) -> Path:
    """The same network in another file, for ratios and gates."""
    return written(exported, tmp_path / "other.onnx", exported.read_bytes())


def written(exported: Path, path: Path, content: bytes) -> Path:
    """Another file with the same manifest but for what it says of the content."""
    path.write_bytes(content)
    manifest = json.loads(manifest_path(exported).read_text())
    manifest["files"] = [{"path": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}]
    manifest_path(path).write_text(json.dumps(manifest))
    return path


Script = Callable[..., list[scripted.ScriptedDevice]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """Every device is a scripted one, by the name it is asked for under."""
    opened: list[scripted.ScriptedDevice] = []

    def install(**options: Any) -> list[scripted.ScriptedDevice]:
        def open_device(name: str, **_: Any) -> scripted.ScriptedDevice:
            mine = {**options, **options.get("each", {}).get(name, {})}
            mine.pop("each", None)
            opened.append(scripted.ScriptedDevice(name, **mine))
            return opened[-1]

        monkeypatch.setattr(core, "open_device", open_device)
        return opened

    return install


def test_a_benchmark_is_a_table_and_sentences(
    exported: Path, other: Path, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    script(latency=scripted.noisy({"a1": 1.5}, seed=0))
    assert cli.run(["bench", str(exported), str(other), "--threads", "1"]) == 0
    shown = capfd.readouterr()
    told = " ".join(shown.out.split())
    assert "A board, Cortex-A76, aarch64, 4 cores, 4.0 GiB" in told
    assert "id 0123456789abcdef" in told
    assert "onnxruntime 2.3.0: XNNPACK, 1 of 1 nodes" in told  # what really ran, as the device told
    assert re.search(r"p50 \[95%\] p90 p95 max", told)
    assert "p99" not in told
    assert re.search(
        r"other\.onnx .* takes 1\.[45]\d\d times as long as .* \(95% interval 1\.\d+ to 1\.\d+, 20 rounds\)", told
    )
    assert "rounds 5 of 20" in shown.err


def test_json_alone_on_standard_output(exported: Path, script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    script()
    assert cli.run(["bench", str(exported), "--json", "-"]) == 0
    result = read_json(capfd.readouterr().out)
    assert result.devices[0].measured[0].identity.file == exported.name
    assert result.protocol.runs == 200


def test_json_goes_to_a_file(exported: Path, script: Script, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    script()
    assert cli.run(["bench", str(exported), "--json", str(tmp_path / "b.json"), "--runs", "40"]) == 0
    (measured,) = read_json((tmp_path / "b.json").read_text()).devices[0].measured
    assert measured.model_summary is not None
    assert [p.q for p in measured.model_summary.percentiles] == [0.5]  # 40 samples give no p90
    assert "p90" not in capfd.readouterr().out


def test_a_page_and_markdown_are_written(
    exported: Path, script: Script, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    script()
    page, text = tmp_path / "bench.html", tmp_path / "bench.md"
    assert cli.run(["bench", str(exported), "--html", str(page), "--markdown", str(text)]) == 0
    assert page.read_text().startswith("<!doctype html>")
    assert "A board" in text.read_text()


def test_two_devices_are_two_tables(exported: Path, script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    """Times of two machines in one table would be read as a ranking."""
    devices = script(each={"ssh://pi@kitchen": {"fingerprint": {"id": "f" * 16, "board": "Another board"}}})
    assert cli.run(["bench", str(exported), "--device", "local", "--device", "ssh://pi@kitchen"]) == 0
    assert [d.name for d in devices] == ["local", "ssh://pi@kitchen"]
    out = capfd.readouterr().out
    assert out.count("p50 [95%]") == 2
    assert out.index("A board") < out.index("Another board")


def test_an_emulated_device_has_no_latency(exported: Path, script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    script(fingerprint={"emulated": "qemu"})
    assert cli.run(["bench", str(exported)]) == 0
    shown = capfd.readouterr()
    assert shown.out.startswith("local: EMULATED (qemu), no latencies of a device")
    assert "times in EMULATED ms" in shown.out
    assert "times in ms" not in shown.out
    assert "EMULATED (qemu)" in shown.err


@pytest.mark.parametrize(("slower", "code", "word"), [(1.0, 0, "✓ pass"), (1.5, 1, "✕ fail"), (1.1, 1, "? undecided")])
def test_a_gate_has_an_exit_code(
    exported: Path, other: Path, script: Script, capfd: pytest.CaptureFixture[str], slower: float, code: int, word: str
) -> None:
    script(latency=scripted.noisy({"a0": slower}, seed=1))
    arguments = ["bench", str(exported), "--max-ratio", "1.1", "--against", str(other)]
    assert cli.run(arguments) == code
    out = " ".join(capfd.readouterr().out.split())
    assert f"{word}: local: {exported.name}: time against other.onnx" in out
    ratio = re.search(rf"{re.escape(exported.name)} \S*\s?takes ([\d.]+) times as long as other\.onnx", out)
    assert ratio is not None and out.count("times as long as") == 1, "in one direction, the gate's"
    judged = re.search(r"time against other\.onnx ([\d.]+) times", out)
    assert judged is not None and float(judged[1]) == pytest.approx(float(ratio[1]), abs=1e-3)
    assert ("would decide (--rounds)" in out) is (word == "? undecided")


def test_two_files_of_one_name_are_told_apart(
    exported: Path, script: Script, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old").mkdir()
    old = written(exported, tmp_path / "old" / exported.name, exported.read_bytes() + b"\0")
    script(latency=scripted.noisy({"a0": 1.5}, seed=1))
    markdown = tmp_path / "bench.md"
    arguments = ["bench", str(exported), "--against", str(old), "--max-ratio", "1.1", "--markdown", str(markdown)]
    assert cli.run(arguments) == 1
    out = " ".join(capfd.readouterr().out.split())
    new_name, old_name = f"{exported.parent.name}/{exported.name}", f"old/{exported.name}"
    assert f"{new_name}: time against {old_name}" in out
    text = markdown.read_text().replace("\\", "")
    assert f"| {new_name} |" in text and f"| {old_name} |" in text


def test_an_absolute_gate_has_an_exit_code(exported: Path, script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    script()
    assert cli.run(["bench", str(exported), "--max-p50", "2"]) == 0
    assert cli.run(["bench", str(exported), "--max-p50", "0.5"]) == 1
    assert "✕ fail: local:" in capfd.readouterr().out


def test_a_device_that_was_lost_is_exit_code_two_and_shows_what_there_is(
    exported: Path, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    script(fails_after=9)
    assert cli.run(["bench", str(exported)]) == 2
    assert "! local: the cable came loose" in capfd.readouterr().out
    assert cli.run(["bench", str(exported), "--json", "-"]) == 2
    shown = capfd.readouterr()
    assert read_json(shown.out).exit_code == 2
    assert "error: local: the cable came loose" in shown.err.splitlines()  # beside JSON, too, the reason is told


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--runs", "0"], "--runs 0 does not work"),
        (["--threads", "100000"], "100000 threads do not work"),
        (["--threads", "one"], "--threads one does not work: it is numbers with commas between"),
        (["--threads", "1,,2"], "--threads 1,,2 does not work"),
        (["--device", "http://board"], "unknown device 'http://board'"),
        (["--device", "browser:none"], "unknown device 'browser:none': browser:N takes from 1 to 64 browsers"),
        (["--host", "192.0.2.7"], "--host 192.0.2.7 goes with --device browser, and there is none"),
        (
            ["--device", "browser", "--host", "kitchen"],
            "--host kitchen does not work: it is an address of this machine",
        ),
        (["--device", "browser", "--wait", "0"], "--wait 0 does not work"),
        (["--runtime", "onnxruntime:colour=red"], "unknown option of onnxruntime 'colour'"),
        (["--max-ratio", "1.1"], "--max-ratio and --against go together"),
        (["--max-ratio", "1.1", "--against", "nowhere.onnx"], "there is no file nowhere.onnx"),
        (["--fast"], "No such option"),
        (["--data", "nowhere"], "nowhere: cannot be listed"),
        (["--json", "."], ". is a folder: name a file"),
        (["--html", "/dev/null/report.html"], "/dev/null/report.html cannot be written"),
        (["--json", "same", "--markdown", "./same"], "--json and --markdown name one file for two reports: same"),
        (["--html", "-"], "--html - does not work: only JSON goes to standard output"),
    ],
)
def test_bad_input_is_one_line(
    exported: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    assert why.lower() in fails(["bench", str(exported), *arguments], capfd).lower()


def test_a_missing_artifact_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert fails(["bench", "nowhere.tflite"], capfd) == "error: there is no file nowhere.tflite"


def test_a_damaged_artifact_is_one_line(exported: Path, other: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other.write_bytes(other.read_bytes()[:-100])
    assert "other.onnx has" in fails(["bench", str(other)], capfd)


def test_a_full_disk_leaves_no_half_a_file(
    exported: Path, script: Script, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    script()
    monkeypatch.setattr("edgecvx.files.write_flushed", full)
    assert cli.run(["bench", str(exported), "--json", str(tmp_path / "b.json")]) == 2
    shown = capfd.readouterr()
    assert "no space left on the disk" in shown.err
    assert "p50 [95%]" in shown.out  # what was measured is not lost with the disk
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_made_is_told_before_anything_is_measured(
    exported: Path, script: Script, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = script()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "Jinja2" in fails(["bench", str(exported), "--html", "page.html"], capfd)
    assert opened == []


def test_every_value_of_the_result_can_be_shown(
    exported: Path, script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also those that most devices do not have: a sustained run, memory, errors, notes."""
    script()
    assert cli.run(["bench", str(exported), "--sustained", "1", "--json", "-"]) == 0
    result = read_json(capfd.readouterr().out)
    (device,) = result.devices
    (measured,) = (dataclasses.replace(m, threads=4) for m in device.measured)
    assert measured.sustained is not None
    broken = dataclasses.replace(
        measured,
        id="a1",
        backend="plain kernels",
        arithmetic="bf16",
        model_summary=None,
        error="it died [bold]",
        end_to_end_note="no Pillow",
        threads=None,
    )
    free = dataclasses.replace(measured, id="a2", threads=None)
    device = dataclasses.replace(device, measured=(measured, broken, free))
    show.out.print(benchmark_terminal(dataclasses.replace(result, devices=(device,))))
    out = " ".join(capfd.readouterr().out.split())
    assert "after 1.0 minutes without a pause, a run took 1.1" in out
    assert "with its own threads: it died [bold]" in out
    assert f"{measured.identity.file} with 4 threads: after 1.0 minutes" in out
    assert "4 (took 1)" in out
    assert " 1 (its own) " in out, "none were given, and the runtime tells how many it took"
    assert f"onnxruntime 2.3.0: plain kernels, floats in bf16 ({measured.identity.file}" in out
    assert "has no end to end: no Pillow" in out


def test_what_was_measured_is_kept_though_it_cannot_be_shown(
    exported: Path, script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard output into a file on a disk that is full, or a terminal that is gone."""
    script()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(show.out, "print", full)
    file = tmp_path / "bench.json"
    assert cli.run(["bench", str(exported), "--json", str(file)]) == 2
    assert read_json(file.read_text()).devices[0].measured[0].model
    assert "error: no space left on the disk" in capfd.readouterr().err
