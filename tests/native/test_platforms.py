"""Where the engine runs: names that are files' names too, and a sentence where it does not run."""

from __future__ import annotations

import pytest

from edgecvx.errors import UsageError
from edgecvx.native.platforms import PLATFORMS, Platform, get_platform, is_for_platform, platform_of, this_platform


@pytest.mark.parametrize(
    ("system", "processor", "musl", "name"),
    [
        ("linux", "x86_64", False, "x86_64-linux"),
        ("linux", "aarch64", False, "aarch64-linux"),
        ("linux", "x86_64", True, "x86_64-linux-musl"),
        ("linux", "aarch64", True, "aarch64-linux-musl"),
        ("darwin", "arm64", False, "aarch64-macos"),
        ("darwin", "x86_64", False, "x86_64-macos"),
        ("win32", "AMD64", False, "x86_64-windows"),
    ],
)
def test_a_machine_finds_its_platform(system: str, processor: str, musl: bool, name: str) -> None:
    assert platform_of(system, processor, musl=musl) is PLATFORMS[name]


@pytest.mark.parametrize(
    ("system", "processor", "bits"),
    [
        ("linux", "riscv64", 64),
        ("linux", "aarch64", 32),  # Raspberry Pi OS of 32 bits on a kernel of 64
        ("win32", "ARM64", 64),
        ("android", "aarch64", 64),  # has a source, which nothing can load
        ("wasi", "wasm32", 32),
    ],
)
def test_a_machine_without_a_platform_is_told_which_there_are(system: str, processor: str, bits: int) -> None:
    with pytest.raises(UsageError, match=rf"not built for this machine \({system}, {processor}, {bits} bits\).*wasm32"):
        platform_of(system, processor, bits=bits)


def test_this_machine_is_one_of_them() -> None:
    assert this_platform().kind == "library"


def test_an_unknown_platform_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown platform 'x86-64-linux': did you mean .*x86_64-linux"):
        get_platform("x86-64-linux")


def test_no_two_platforms_write_files_of_one_name() -> None:
    suffixes = [suffix for platform in PLATFORMS.values() for suffix in platform.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert PLATFORMS["x86_64-linux"].suffixes == (".x86_64-linux.so",)
    assert is_for_platform("femto.demo-224-int8.x86_64-linux.so") and not is_for_platform("femto.so")
    assert PLATFORMS["aarch64-ios"].suffixes == (".aarch64-ios.c", ".aarch64-ios.h")
    assert PLATFORMS["source"].suffixes == (".source.c", ".source.h")


@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=lambda platform: platform.name)
def test_a_library_has_a_compiler_and_a_source_leaves_it_to_its_project(platform: Platform) -> None:
    assert bool(platform.target and platform.cpu and platform.flags) == (platform.kind == "library")
    assert platform.cpu != "native"
