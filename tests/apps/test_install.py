"""The boards' install scripts and units: linted, tried where they refuse, and run into a folder of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from live_fakes import write_artifact

APPS = Path(__file__).parents[2] / "apps"
BOARDS = ("raspberry_pi", "jetson")


def install(board: str, *arguments: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs a board's script without touching the system."""
    return subprocess.run(
        ["bash", str(APPS / board / "install.sh"), *map(str, arguments)],
        env={**os.environ, "PATH": path or os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> str:
    """A PATH on which `python3 -m venv` makes an environment at once, whose pip writes down what it is asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python3"
    # The script asks the version, makes the environment, and calls pip and the command in it.
    python.write_text(f"""#!/bin/sh
case "$*" in
  -m\\ venv*) for last; do :; done; mkdir -p "$last/bin"
    cp "$0" "$last/bin/python"
    printf '#!/bin/sh\\necho edgecvx-live 0\\n' >"$last/bin/edgecvx-live"; chmod +x "$last/bin/edgecvx-live"
    echo "venv $*" >>{tmp_path}/asked ;;
  -m\\ pip*) echo "pip $*" >>{tmp_path}/asked ;;
esac
""")
    python.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_scripts_are_clean() -> None:
    scripts = [str(APPS / board / "install.sh") for board in BOARDS]
    done = subprocess.run(["shellcheck", "-x", *scripts, str(APPS / "board.bash")], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode()


@pytest.mark.parametrize("board", BOARDS)
def test_a_script_installs_settings_and_artifacts_and_keeps_what_is_there(
    board: str, stand_in: str, tmp_path: Path
) -> None:
    prefix, artifact = tmp_path / "live", write_artifact(tmp_path / "files", "model-int8.tflite")
    asked = ("--no-apt", "--no-service", "--prefix", prefix, artifact)
    first = install(board, *asked, path=stand_in)
    assert first.returncode == 0, first.stderr
    settings = prefix / "live.toml"
    assert 'artifacts = ["artifacts/model-int8.tflite"]' in settings.read_text()
    assert {path.name for path in (prefix / "artifacts").iterdir()} == {artifact.name, f"{artifact.name}.edgecvx.json"}

    settings.write_text("# mine\n")
    again = install(board, *asked, path=stand_in)
    assert again.returncode == 0, again.stderr
    assert settings.read_text() == "# mine\n"
    words = (tmp_path / "asked").read_text()
    assert words.count("venv -m venv") == 1, "the environment is made once"
    assert ("--system-site-packages" in words) is (board == "jetson")
    assert words.count("pip -m pip install") == 2

    gone = install(board, "--uninstall", "--no-service", "--prefix", prefix, path=stand_in)
    assert gone.returncode == 0, gone.stderr
    assert not prefix.exists()
    assert install(board, "--uninstall", "--no-service", "--prefix", prefix).returncode == 0, "twice is fine"


def test_wheels_beside_the_script_go_before_the_checkout(stand_in: str, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(APPS / "raspberry_pi", folder / "raspberry_pi")
    shutil.copy(APPS / "board.bash", folder)
    (folder / "raspberry_pi" / "wheels").mkdir()
    for name in ("edgecvx-0.1.0", "edgecvx-0.10.0", "edgecvx_live-0.1.0"):
        (folder / "raspberry_pi" / "wheels" / f"{name}-py3-none-any.whl").touch()
    done = subprocess.run(
        [
            "bash",
            str(folder / "raspberry_pi" / "install.sh"),
            "--no-apt",
            "--no-service",
            "--prefix",
            str(tmp_path / "p"),
        ],
        env={**os.environ, "PATH": stand_in},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pip = (tmp_path / "asked").read_text().splitlines()[-1]
    assert pip.endswith("edgecvx-0.10.0-py3-none-any.whl[tflite] " + pip.split()[-1]), pip
    assert "edgecvx_live-0.1.0" in pip.split()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--wheel"], "unknown option --wheel"),
        (["--prefix", "relative"], "does not work"),
        (["--prefix", "/opt/../etc"], "does not work"),
        (["--prefix", "/opt/a b"], "does not work"),
        (["--prefix", "/opt/x;id"], "does not work"),
        (["--prefix", "/usr"], "holds something else"),
        (["none.tflite"], "is missing"),
        (['a"b.tflite'], "make a file's name here"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_changes(arguments: list[str], says: str) -> None:
    done = install("raspberry_pi", "--no-apt", "--no-service", *arguments)
    assert done.returncode == 2
    assert says in done.stderr


def test_a_folder_that_is_not_ours_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    install("raspberry_pi", "--uninstall", "--no-service", "--prefix", tmp_path / "live")
    assert (tmp_path / "live").is_dir()


@pytest.mark.parametrize("board", BOARDS)
def test_help_says_what_it_does(board: str) -> None:
    done = install(board, "--help")
    assert done.returncode == 0
    assert "--uninstall" in done.stdout
    assert "It asks nothing." in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("board", BOARDS)
def test_a_unit_is_one_systemd_understands(board: str, tmp_path: Path) -> None:
    text = (APPS / board / "edgecvx-live.service").read_text()
    command = tmp_path / "venv" / "bin" / "edgecvx-live"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    unit = tmp_path / "edgecvx-live.service"
    unit.write_text(text.replace("@PREFIX@", str(tmp_path)).replace("@USER@", "root"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "edgecvx-live.service" not in done.stderr, done.stderr
