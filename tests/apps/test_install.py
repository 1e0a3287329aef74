"""The boards' install scripts and units: linted, tried where they refuse, and run into a folder of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from live_fakes import write_artifact

from edgecvx_live.settings import read_settings

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


def test_an_artifact_that_comes_later_is_named_where_none_was(stand_in: str, tmp_path: Path) -> None:
    """The first run without a file, the second one with it: what the page on troubles tells to do."""
    prefix, artifact = tmp_path / "live", write_artifact(tmp_path / "my files", "model-int8.tflite")
    asked = ("--no-apt", "--no-service", "--prefix", prefix)
    settings = prefix / "live.toml"
    assert install("raspberry_pi", *asked, path=stand_in).returncode == 0
    settings.write_text(settings.read_text().replace("port = 8080", "port = 8081"))
    assert install("raspberry_pi", *asked, artifact, path=stand_in).returncode == 0
    told = read_settings(settings)
    assert told.artifacts == (str(prefix / "artifacts" / artifact.name),) and told.port == 8081

    other = write_artifact(tmp_path / "my files", "other.tflite")
    done = install("raspberry_pi", *asked, other, path=stand_in)
    assert "not in use until" in done.stdout and "artifacts/other.tflite" in done.stdout
    assert read_settings(settings).artifacts == told.artifacts


def test_the_native_engine_is_installed_with_its_file_and_nothing_else(stand_in: str, tmp_path: Path) -> None:
    """The core package runs it: no runtime is asked of pip."""
    prefix, artifact = tmp_path / "live", write_artifact(tmp_path / "my files", "model-int8.ecvx")
    library = artifact.with_name("model-int8.aarch64-linux.so")
    for name in (library.name, "model-int8.aarch64-ios.c", "other.aarch64-linux.so"):
        artifact.with_name(name).write_bytes(b"code")
    asked = ("--no-apt", "--no-service", "--prefix", prefix, artifact)
    done = install("raspberry_pi", *asked, path=stand_in)
    assert done.returncode == 0, done.stderr
    placed = {path.name for path in (prefix / "artifacts").iterdir()}
    manifest = f"{artifact.name}.edgecvx.json"
    assert placed == {artifact.name, manifest, library.name, "model-int8.aarch64-ios.c"}
    assert "edgecvx[" not in (tmp_path / "asked").read_text()

    other = write_artifact(tmp_path / "files", "model-int8.tflite")
    assert install("raspberry_pi", *asked, other, path=stand_in).returncode == 0
    assert "edgecvx[tflite]" in (tmp_path / "asked").read_text()


def test_what_is_installed_can_be_read_by_the_service(stand_in: str, tmp_path: Path) -> None:
    """Its user is not the one who installs, whose files may be for his own eyes only."""
    prefix, artifact = tmp_path / "live", write_artifact(tmp_path / "files", "model-int8.tflite")
    artifact.chmod(0o600)
    before = os.umask(0o077)
    try:
        done = install("raspberry_pi", "--no-apt", "--no-service", "--prefix", prefix, artifact, path=stand_in)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    for path in (prefix, *prefix.rglob("*")):
        if path.name != "pyvenv.cfg":
            assert path.stat().st_mode & 0o004, f"{path} cannot be read"


def test_an_environment_that_was_left_half_made_is_made_anew(stand_in: str, tmp_path: Path) -> None:
    """As `python3 -m venv` leaves it where the package python3-venv is missing: a Python without pip."""
    python = tmp_path / "live" / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    (tmp_path / "live" / ".edgecvx-live").touch()
    done = install("raspberry_pi", "--no-apt", "--no-service", "--prefix", tmp_path / "live", path=stand_in)
    assert done.returncode == 0, done.stderr


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
        (["--prefix"], "--prefix needs a folder"),
        (["--prefix", ""], "does not work"),
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
    (line,) = done.stderr.splitlines()
    assert line.startswith("install.sh: ") and says in line


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


def test_a_jetson_finds_its_camera_daemon_and_its_engines() -> None:
    """The daemon's socket is in /tmp; the engines are where root builds them, and where the service cannot write."""
    unit = (APPS / "jetson" / "edgecvx-live.service").read_text()
    assert "\nPrivateTmp=" not in unit and "TMPDIR=%t/edgecvx-live" in unit and "RuntimeDirectory=edgecvx-live" in unit
    assert "\nEnvironment=EDGECVX_CACHE=@PREFIX@/cache\n" in unit
    assert "EDGECVX_CACHE=$PWD/cache venv/bin/edgecvx build-engine" in (APPS / "jetson" / "README.md").read_text()


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
