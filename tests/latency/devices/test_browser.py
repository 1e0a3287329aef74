"""Browsers as devices: each has its own figures, a page may come back or go away, and what it says may be a lie."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scripted
from chromium import BINARY, Browser
from native_artifacts import copied
from pretended_page import Answer, Host, Page, events, running
from waiting import wait_until

from edgecvx.errors import DeviceError, UsageError
from edgecvx.latency.bench import benchmark
from edgecvx.latency.devices import open_browsers
from edgecvx.latency.devices.base import Device
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import Job
from edgecvx.results.latency import Benchmark, DeviceBench, Protocol

if TYPE_CHECKING:
    from small_classifier import Exported

PROTOCOL = Protocol(
    rounds=20, runs=200, seconds=None, end_to_end=False, memory=False, sustained_minutes=0, pictures="demo", seed=0
)
PROOF = {"processor": {"name": None, "machine": "x86_64", "kind": "AVX2", "instructions": []}, "engine": "native"}


def job(*names: str, runtime: str = "native", **changes: Any) -> Job:
    """An order for files of the engine, which bring it."""
    proved = {"proof": {**PROOF, "outputs": []}, "limit": 0.01}
    artifacts = [
        {"id": name, "threads": 1, "runtime": runtime, "path": f"{name}/model.ecvx", "proved": proved} for name in names
    ]
    files: dict[str, Path | bytes] = {f"{name}/model.wasm32.wasm": b"\0asm" for name in names}
    return Job(order=scripted.order(*names, **{"artifacts": artifacts, **changes}), files=files)


class Measuring:
    """A benchmark on browsers that runs beside the test."""

    def __init__(self, asked: Job, text: str = "browser", **how: Any) -> None:
        self.host = Host(**how)
        self.stop = threading.Event()
        self.devices = open_browsers(text, self.host.invitation)
        requested = [scripted.requested(a["id"]) for a in asked.order["artifacts"]]
        self.collectors = [Collector(asked, requested, device=device.name) for device in self.devices]
        self.errors: dict[str, str] = {}
        self._threads = [
            threading.Thread(target=self._measure, args=(device, asked, collector), daemon=True)
            for device, collector in zip(self.devices, self.collectors, strict=True)
        ]
        for thread in self._threads:
            thread.start()

    def _measure(self, device: Device, asked: Job, collector: Collector) -> None:
        try:
            device.measure(asked, collector, stop=self.stop)
        except DeviceError as error:
            self.errors[device.name] = str(error)

    @property
    def results(self) -> list[DeviceBench]:
        """Of all of them, in order, as soon as they have ended."""
        for thread in self._threads:
            thread.join()
        return [
            collector.result(self.errors.get(device.name))
            for device, collector in zip(self.devices, self.collectors, strict=True)
        ]


def order_of(page: Page) -> Mapping[str, Any]:
    """What the page is asked to measure."""
    asked = page.asked()
    assert asked["do"] == "bench"
    order: Mapping[str, Any] = asked["order"]
    return order


def tell_all(page: Page) -> None:
    page.tell(*events(order_of(page)))
    assert page.asked()["do"] == "end"


def test_each_browser_is_a_device_with_figures_of_its_own() -> None:
    measuring = Measuring(job("a0", "a1"), "browser:2")
    pages = [measuring.host.page(model=model) for model in ("Pixel 8", "Pixel 9")]
    for page in pages:
        tell_all(page)
    results = measuring.results
    assert [r.error for r in results] == [None, None]
    assert [r.fingerprint.name for r in results] == ["browser 1", "browser 2"]
    assert [r.fingerprint.board for r in results] == ["Pixel 8", "Pixel 9"]
    assert results[0].fingerprint.id != results[1].fingerprint.id
    (first, _) = results[0].measured
    assert first.model_summary is not None and first.model_summary.samples == 200
    assert first.identity.runtime_version is not None
    assert first.identity.runtime_version.endswith("in Chrome 156 (wasm32)")
    assert first.recheck is not None and first.recheck.here == "wasm32 in Chrome 156"
    assert (first.memory, results[0].before.celsius, first.model[0].mhz) == (None, None, None)


def test_a_page_gets_the_order_with_the_engine_and_the_files_of_it() -> None:
    measuring = Measuring(job("a0"))
    page = measuring.host.page()
    (artifact,) = order_of(page)["artifacts"]
    assert page.ask("GET", "file", name=artifact["engines"]["wasm32"]) == b"\0asm"
    measuring.stop.set()
    assert page.asked() == {"do": "end", "sentence": "This was ended at the computer."}
    assert measuring.results[0].error is None


def test_only_files_of_the_engine_run_there_and_nobody_is_invited_for_others() -> None:
    measuring = Measuring(job("a0", runtime="tflite"))
    (result,) = measuring.results
    assert result.measured[0].error == (
        "a browser runs files of the native engine alone (.ecvx): export it with --target web"
    )
    assert not measuring.host.told


def test_a_page_that_was_reloaded_goes_on_with_the_round_that_was_not_over() -> None:
    measuring = Measuring(job("a0"))
    page = measuring.host.page()
    told = list(events(order_of(page)))
    page.tell(*told[: told.index({"event": "round", "round": 7, "of": 20}) + 1])
    wait_until(lambda: measuring.collectors[0].progress == "after 7 of 20 rounds", "seven rounds are over")
    page.join()
    order = order_of(page)
    assert order["first_round"] == 7
    page.tell(*events(order))
    (result,) = measuring.results
    assert (result.error, result.interruptions) == (None, 1)
    assert [turn.round for turn in result.measured[0].model] == list(range(20))
    assert "browser: Chrome 156 on Android 14 is back" in measuring.host.told


def test_a_page_that_is_opened_anew_without_end_is_given_up() -> None:
    measuring = Measuring(job("a0"))
    page = measuring.host.page()
    for _ in range(5):
        order_of(page)
        page.join()
    assert measuring.results[0].error == "browser: its page was opened anew 5 times within one round"


def test_one_that_closes_in_the_middle_is_told_and_takes_nothing_from_the_others() -> None:
    measuring = Measuring(job("a0"), "browser:2", lifeline_seconds=1)
    closed, stays = measuring.host.page(), measuring.host.page()
    told = list(events(order_of(closed)))
    closed.tell(*told[:8])
    closed.alive("leaving")
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(0.2):
            stays.alive()

    with running(beat):
        wait_until(lambda: measuring.errors, "the silence is noticed")
        tell_all(stays)
        beating.set()
    first, second = measuring.results
    assert first.error == (
        "browser 1: its page fell silent for 1 s after 1 of 20 rounds: it was closed, the device was locked, or lost "
        "its connection"
    )
    assert len(first.measured[0].model) == 2
    assert second.error is None and len(second.measured[0].model) == 20


def test_a_hidden_page_is_waited_for_longer_and_the_terminal_is_told() -> None:
    measuring = Measuring(job("a0"), lifeline_seconds=0.5)
    page = measuring.host.page()
    page.alive("hidden")
    told = list(events(order_of(page)))
    wait_until(lambda: "browser: its page is hidden: it waits until it is shown" in measuring.host.told, "it is told")
    visit_silent = threading.Event().wait(0.8)  # longer than the lifeline of a page that is shown
    assert not visit_silent and not measuring.errors
    page.tell(*told)
    assert measuring.results[0].error is None


def test_nobody_comes() -> None:
    measuring = Measuring(job("a0"), "browser:2", wait_minutes=0.005)
    assert [r.error for r in measuring.results] == [
        f"browser {i}: nobody opened the link within 0.005 minutes (--wait)" for i in (1, 2)
    ]


def edited(kind: str, **changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The first event of a kind with other content."""

    def edit(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, **changes} if event["event"] == kind else event

    return edit


def turned(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Every turn with other content."""

    def edit(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "turn": {**event["turn"], **changes}} if event["event"] == "turn" else event

    return edit


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (turned(samples_ns=[-5] * 10), "a run of -5 ns cannot be"),
        (turned(samples_ns=[0] * 10), "a run of 0 ns cannot be"),
        (turned(samples_ns=[math.nan] * 10), "it holds the number nan"),
        (turned(samples_ns=[1e5] * 10), "expected int"),
        (turned(samples_ns=[10**30]), "it holds the number"),
        (turned(samples_ns=[5] * 11), "11 runs in one turn were not asked for"),
        (turned(settle_ns=[-1]), "a time of -1 cannot be"),
        (turned(started=-3.0), "a time of -3 cannot be"),
        (turned(parts_ns={"decode": [-2] * 10}), "a time of -2 cannot be"),
        (turned(round=3), "this turn of round 3 was not asked for"),
        (turned(yardstick_ns=-1), "a run of -1 ns cannot be"),
        (edited("hello", protocol=1), "it speaks protocol 1"),
        (edited("fingerprint", event="hello", protocol=2), "it began twice"),
        (edited("before", at="<b>now</b>"), "'<b>now</b>' is no moment"),
        (edited("opened", proof_error=0.5), "a file that is off by 0.5 was not to be measured"),
        (edited("opened", proof_error=None), "proof_error: expected float"),
        (edited("opened", wasm="x86"), "wasm is 'x86'"),
        (edited("opened", load_ns=-1), "load_ns is -1"),
        (edited("opened", id="a9"), "there is no artifact 'a9'"),
        (edited("opened", kernels=7), "kernels: expected str"),
        (edited("warm", samples_ns=[5] * 501), "501 runs of a warm-up were not asked for"),
        (edited("warm", event="told"), "'told' is missing"),
        (edited("warm", event="__class__"), "no runner of this version sends it"),
    ],
)
def test_what_no_page_of_ours_tells_ends_its_measurement_with_a_sentence(
    lie: Callable[[dict[str, Any]], dict[str, Any]], sentence: str
) -> None:
    measuring = Measuring(job("a0", warm_up={"max_runs": 500}))
    page = measuring.host.page()
    with_lie = [lie(event) for event in events(order_of(page))]
    page.tell(*with_lie)
    told = page.asked()
    assert sentence in (measuring.results[0].error or "")
    assert told == {"do": "end", "sentence": measuring.errors["browser"]}


@pytest.mark.parametrize("body", [b"x", b"[1]", b"{}", b'{"event": 1}', b"\xff\xfe", b"[" * 5000])
def test_what_is_no_event_ends_it_too(body: bytes) -> None:
    measuring = Measuring(job("a0"))
    page = measuring.host.page()
    order_of(page)
    page.say(body)
    assert page.asked()["do"] == "end"
    assert (measuring.results[0].error or "").endswith("which is no event")


def test_a_million_runs_are_not_even_read() -> None:
    measuring = Measuring(job("a0"))
    page = measuring.host.page()
    order_of(page)
    with pytest.raises((Answer, OSError)):  # the connection is closed in its face
        page.say(b'{"event": "turn", "turn": {"samples_ns": [' + b"12345," * 1_000_000)
    assert page.asked()["do"] == "end"
    assert "it sent 6000042 bytes at once, where at most" in (measuring.results[0].error or "")


def test_markup_in_what_a_browser_says_is_text_everywhere() -> None:
    from edgecvx.report.forms.page import page as page_of
    from edgecvx.report.join import join

    hostile = "<script>alert(1)</script>"
    measuring = Measuring(job("a0"))
    page = measuring.host.page(model=hostile, user_agent=hostile, platform=hostile)
    tell_all(page)
    found = Benchmark(edgecvx="0", protocol=PROTOCOL, devices=tuple(measuring.results))
    assert found.devices[0].fingerprint.board == hostile
    assert hostile not in page_of(join([], [found]))


@pytest.mark.parametrize("text", ["browser:0", "browser:65", "browser:", "browser:x", "browser://", "browser:-1"])
def test_so_many_browsers_there_are_not(text: str) -> None:
    with pytest.raises(UsageError, match="browser:N takes from 1 to 64 browsers"):
        open_browsers(text, Host().invitation)


def test_two_links_at_once_are_refused(native_classifier: Exported) -> None:
    with pytest.raises(UsageError, match="--device names browsers twice"):
        benchmark(native_classifier.path, devices=["browser", "browser:2"])


# --- in a real browser -------------------------------------------------------------------------------------------

chromium = pytest.mark.skipif(BINARY is None, reason="no chromium in the path")


@chromium
def test_two_real_browsers_measure_side_by_side_with_one_thread_and_two(
    browser: Browser, native_classifier: Exported
) -> None:
    host = Host()
    with running(
        lambda: benchmark(
            native_classifier.path, devices="browser:2", threads=(1, 2), runs=6, rounds=2, invitation=host.invitation
        )
    ) as found:
        tabs = [browser.open(host.link) for _ in range(2)]
        for tab in tabs:
            tab.wait("document.querySelector('main').innerText.includes('Done: the figures are at the computer')")
            assert tab.console == []
            tab.close()
    result: Benchmark = found["result"]
    assert [d.error for d in result.devices] == [None, None]
    for device in result.devices:
        assert [m.error for m in device.measured] == [None, None]
        assert [m.threads_told for m in device.measured] == [1, 2]
        assert [m.backend for m in device.measured] == ["relaxed", "relaxed"]
        for m in device.measured:
            assert m.model_summary is not None and m.model_summary.samples == 6
            assert m.end_to_end_summary is not None and set(m.end_to_end_summary.parts) == {
                *("decode", "prepare", "infer", "rank")
            }
            assert m.recheck is not None and m.recheck.error is not None
        assert device.fingerprint.facts["isolated"].startswith("yes")
        assert device.noise is not None


@chromium
def test_a_real_page_that_is_reloaded_goes_on_and_one_that_is_closed_is_told(
    browser: Browser, native_classifier: Exported, tmp_path: Path
) -> None:
    artifact = copied(native_classifier.path, tmp_path)
    host = Host(lifeline_seconds=3)
    with running(
        lambda: benchmark(
            artifact,
            devices="browser:2",
            threads=(1,),
            seconds=3,
            rounds=30,
            end_to_end=False,
            invitation=host.invitation,
        )
    ) as found:
        reloaded, closed = [browser.open(host.link) for _ in range(2)]
        for tab in (reloaded, closed):
            tab.wait("document.querySelector('progress').value >= 3")
        closed.close()
        reloaded.call("Page.reload")
        reloaded.wait("document.querySelector('main').innerText.includes('Done')")
        reloaded.close()
    result: Benchmark = found["result"]
    by_error = {d.error is None: d for d in result.devices}
    assert by_error[True].interruptions == 1
    assert {t.round for t in by_error[True].measured[0].model} == set(range(30))
    assert "fell silent for 3 s" in str(by_error[False].error)
    assert by_error[False].measured[0].model
    assert result.exit_code == 2


@chromium
def test_a_turn_in_which_the_page_was_hidden_is_made_again(browser: Browser, native_classifier: Exported) -> None:
    hide = """Object.defineProperty(document, 'visibilityState', {get: () => window.dark ? 'hidden' : 'visible'});
        window.go = (dark) => { window.dark = dark; document.dispatchEvent(new Event('visibilitychange')); }"""
    host = Host()
    with running(
        lambda: benchmark(
            native_classifier.path,
            devices="browser",
            seconds=1,
            rounds=10,
            end_to_end=False,
            invitation=host.invitation,
        )
    ) as found:
        tab = browser.open(host.link)
        tab.wait("document.querySelector('progress').value >= 1")
        tab.run(f"{hide}; go(true)")
        wait_until(lambda: "browser: its page is hidden: it waits until it is shown" in host.told, "it is told")
        before = tab.run("document.querySelector('progress').value")
        tab.run("new Promise((resolve) => setTimeout(resolve, 400))")
        assert tab.run("document.querySelector('progress').value") == before
        tab.run("go(false)")
        tab.wait("document.querySelector('main').innerText.includes('Done')")
        tab.close()
    assert found["result"].devices[0].error is None


@chromium
def test_a_link_that_is_not_valid_any_more_says_so_on_the_page_and_in_the_terminal(browser: Browser) -> None:
    measuring = Measuring(job("a0"))
    tab = browser.open(measuring.host.link.partition("=")[0] + "=wrong")
    tab.wait("document.querySelector('main').innerText.includes('this link is not valid (any more)')")
    assert measuring.host.told == ["127.0.0.1 came without the token of the link and was sent away"]
    tab.close()
    measuring.stop.set()
    assert measuring.results[0].error is None


@chromium
def test_a_file_that_computes_something_else_there_is_refused(
    browser: Browser, native_classifier: Exported, tmp_path: Path
) -> None:
    """Here what it was proved with was changed, which is the same seen from the other side."""
    artifact = copied(native_classifier.path, tmp_path)
    manifest = artifact.with_name(f"{artifact.name}.edgecvx.json")
    text = manifest.read_text()
    first = native_classifier.manifest.proof.outputs[0].values[0][0]
    manifest.write_text(text.replace(f"{first}", f"{first + 4}", 1))
    host = Host()
    with running(lambda: benchmark(artifact, devices="browser", runs=2, rounds=1, invitation=host.invitation)) as found:
        tab = browser.open(host.link)
        tab.wait("document.querySelector('main').innerText.includes('Done')")
        tab.close()
    (measured,) = found["result"].devices[0].measured
    assert "it computes something else in this browser (relaxed) than where it was proved" in str(measured.error)
