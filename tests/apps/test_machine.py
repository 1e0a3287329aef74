"""Temperature and memory, from what the kernel tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgecvx_live import machine


def zone(thermal: Path, number: int, kind: str, temperature: str) -> None:
    folder = thermal / f"thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "type").write_text(kind + "\n")
    (folder / "temp").write_text(temperature + "\n")


@pytest.mark.parametrize("kind", ["cpu-thermal", "CPU-therm", "x86_pkg_temp"])
def test_the_processors_sensor_is_found_among_others(tmp_path: Path, kind: str) -> None:
    zone(tmp_path, 0, "gpu-thermal", "70000")
    zone(tmp_path, 1, kind, "48312")
    assert machine.celsius(tmp_path) == pytest.approx(48.312)


def test_a_sensor_that_says_nothing_sensible_is_left_out(tmp_path: Path) -> None:
    zone(tmp_path, 0, "cpu-thermal", "-274000")
    zone(tmp_path, 1, "cpu-thermal", "N/A")
    assert machine.celsius(tmp_path) is None
    zone(tmp_path, 2, "board", "31000")
    assert machine.celsius(tmp_path) == 31.0


def test_a_machine_without_sensors_has_no_temperature(tmp_path: Path) -> None:
    assert machine.celsius(tmp_path / "none") is None


def test_memory_is_that_of_the_children_too() -> None:
    before = machine.memory_bytes()
    code = "held = b'x' * (64 << 20); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdin and child.stdout
        assert child.stdout.readline() == "ready\n"
        assert machine.memory_bytes() - before > 60 << 20
        child.stdin.write("\n")
        child.stdin.close()
        child.wait()
