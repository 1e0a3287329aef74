"""What a release would be: built from what is tracked, held to its list of files, and installed extra by extra.

    python tools/release_proof.py --out build/release                     # the wheels and source archives alone
    python tools/release_proof.py --out build/release --extras ,tflite,demo     # and a fresh environment for each

An environment is made with this interpreter, gets what was just built and what a package index has of the rest, is
checked by `pip check`, and is weighed without pip. The table it prints is that of docs/installing.md.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = {"edgecvx": ".", "edgecvx_demo_weights": "demo_weights", "edgecvx_live": "apps"}
"""Package -> the folder of its pyproject.toml."""
NOT_SHIPPED = ("edgecvx/web/npm/",)
"""What `tools/npm.py` makes another package of: of no use in this one."""
_INSTALLERS = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
_BUILD = "import sys, setuptools.build_meta as b; out, *kinds = sys.argv[1:]; [getattr(b, k)(out) for k in kinds]"
WHEEL, SOURCE = "build_wheel", "build_sdist"
_START = "import time; t = time.perf_counter(); import edgecvx; print(time.perf_counter() - t)"


def tracked(folder: str) -> list[str]:
    """The files under a folder that git knows and that are still there, as paths from that folder."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    base = PurePosixPath(folder)
    return [str(PurePosixPath(p).relative_to(base)) for p in listed.stdout.split("\0") if p and (ROOT / p).is_file()]


def build(package: str, out: Path, *kinds: str) -> list[Path]:
    """The archives of a distribution, from a copy that holds what is tracked and nothing else.

    Args:
        package: One of ``DISTRIBUTIONS``.
        out: The folder they are written to.
        kinds: ``WHEEL``, ``SOURCE``.
    """
    folder = DISTRIBUTIONS[package]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in tracked(folder):
            (Path(scratch) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / folder / name, Path(scratch) / name)
        subprocess.run(
            [sys.executable, "-c", _BUILD, out.resolve(), *kinds], cwd=scratch, check=True, capture_output=True
        )
    return sorted(out.glob(f"{package}-*"))


def names_in(archive: Path) -> list[str]:
    """The files in a wheel or a source archive, without the folder that a source archive has around all of them."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.namelist()
    with tarfile.open(archive) as source:
        return [member.name.split("/", 1)[1] for member in source if member.isfile()]


def amiss(archive: Path, package: str) -> list[str]:
    """What a wheel or source archive lacks of a package, or has beyond it, a sentence each.

    Args:
        archive: The file.
        package: All of whose tracked files have to be in it.
    """
    names = set(names_in(archive))
    own = {f"{package}/{name}" for name in tracked(str(PurePosixPath(DISTRIBUTIONS[package]) / package))}
    own = {name for name in own if not name.startswith(NOT_SHIPPED)}
    beyond = {n for n in names - own if not _describes(n, package, wheel=archive.suffix == ".whl")}
    needed = own | ({"pyproject.toml", "README.md", "PKG-INFO"} if archive.suffix != ".whl" else set())
    return [f"{archive.name} lacks {n}" for n in sorted(needed - names)] + [
        f"{archive.name} holds {n}" for n in sorted(beyond)
    ]


def _describes(name: str, package: str, *, wheel: bool) -> bool:
    """Whether a file is about the distribution, and belongs beside the package's own."""
    if wheel:
        return name.split("/")[0].startswith(f"{package}-") and ".dist-info/" in name
    about = {"pyproject.toml", "setup.cfg", "PKG-INFO", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "NOTICE"}
    return name in about or name.startswith(f"{package}.egg-info/")


def installed(extra: str, wheels: Path, folder: Path, constraints: Path | None) -> Path:
    """The Python of a fresh environment that has edgecvx with an extra; ``live`` is the camera page with TFLite."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    asked = ["edgecvx[tflite]", "edgecvx-live"] if extra == "live" else [f"edgecvx[{extra}]" if extra else "edgecvx"]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    bound = [] if constraints is None else ["-c", str(constraints)]
    words = ["install", "--quiet", "-f", str(wheels), *bound, *asked]
    subprocess.run([*pip, *words], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([folder / "bin" / "edgecvx", "--version"], check=True, stdout=subprocess.DEVNULL)
    return python


def megabytes(python: Path) -> float:
    """What an environment holds beyond pip, compiled modules included."""
    (site,) = python.parents[1].glob("lib/python3*/site-packages")
    return sum(f.stat().st_size for f in _weighed(site)) / 1e6


def _weighed(site: Path) -> Iterator[Path]:
    for path in site.rglob("*"):
        top = path.relative_to(site).parts[0]
        if path.is_file() and not path.is_symlink() and top.split("-")[0] not in _INSTALLERS:
            yield path


def import_seconds(python: Path) -> float:
    """How long `import edgecvx` takes in a fresh process: the median of seven."""
    run = [subprocess.run([python, "-c", _START], check=True, capture_output=True, text=True) for _ in range(7)]
    return statistics.median(float(done.stdout) for done in run)


def weigh(extras: Iterable[str], wheels: Path, constraints: Path | None = None) -> Iterator[str]:
    """A table: what each extra brings, and how long the package then takes to import."""
    yield "| | installed, without pip | `import edgecvx` |\n|---|---|---|"
    for extra in extras:
        with tempfile.TemporaryDirectory() as scratch:
            python = installed(extra, wheels, Path(scratch) / "venv", constraints)
            name = f"`edgecvx[{extra}]`" if extra else "`edgecvx`"
            yield f"| {name} | {megabytes(python):.0f} MB | {import_seconds(python):.3f} s |"


def main() -> None:
    """Builds, checks and says what is wrong; 1 where anything is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder of the wheels and archives")
    parser.add_argument("--extras", help="names joined by commas, each to be installed; an empty one is none")
    parser.add_argument("-c", "--constraints", type=Path, help="versions that pip is held to, as in constraints.txt")
    asked = parser.parse_args()
    shutil.rmtree(asked.out, ignore_errors=True)
    wrong = [
        text
        for name in DISTRIBUTIONS
        for archive in build(name, asked.out, WHEEL, SOURCE)
        for text in amiss(archive, name)
    ]
    print(*(f"{p.name}: {p.stat().st_size / 1e6:.2f} MB" for p in sorted(asked.out.iterdir())), *wrong, sep="\n")
    if wrong:
        sys.exit(1)
    if asked.extras is not None:
        for line in weigh(asked.extras.split(","), asked.out, asked.constraints):
            print(line, flush=True)


if __name__ == "__main__":
    main()
