"""A file's answers from a browser: the same as here, kept for the next run, and held to their shapes."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from chromium import BINARY, Browser
from PIL import Image
from pretended_page import Answer, Host, Page, running

from edgecvx.accuracy import browser as visiting
from edgecvx.accuracy.browser import VisitingBrowser, visited
from edgecvx.accuracy.validate import validate
from edgecvx.data.dataset import DEMO, Sample, open_data
from edgecvx.errors import DeviceError, EdgecvxError, RuntimeFailedError, UsageError
from edgecvx.results.accuracy import Validation

if TYPE_CHECKING:
    from small_classifier import Exported


def run(classifier: Exported, cache: Path, **how: Any) -> Validation:
    how = {"limit": 20, "threads": 1, "checkpoints": [classifier.checkpoint], "cache_dir": cache, **how}
    return validate(classifier.path, **how)


@pytest.mark.skipif(BINARY is None, reason="no chromium in the path")
def test_twenty_pictures_are_answered_as_by_the_engine_of_this_machine(
    native_classifier: Exported, tmp_path: Path
) -> None:
    host = Host()
    with (
        Browser(tmp_path) as browser,
        running(
            lambda: run(native_classifier, tmp_path / "cache", device="browser", invitation=host.invitation)
        ) as found,
    ):
        tab = browser.open(host.link)
        tab.wait("document.querySelector('main').innerText.includes('Done')")
        assert tab.console == []
        tab.close()
    (there,) = found["result"].artifacts
    (here,) = run(native_classifier, tmp_path / "cache").artifacts
    assert there.error is None and there.pictures == 20
    assert there.identity.runtime == "edgecvx engine"
    assert re.fullmatch(r"in \w+ \d+ \(wasm32-relaxed\)", there.identity.runtime_version or "")
    assert there.recheck is not None and there.recheck.here.startswith("wasm32-relaxed in ")
    assert (there.top1, there.top5) == (here.top1, here.top5)
    assert there.answers is not None and here.answers is not None and there.answers.flips == here.answers.flips
    assert there.outputs[0].cosine_mean == pytest.approx(here.outputs[0].cosine_mean, abs=1e-5)


# --- with a pretended page ----------------------------------------------------------------------------------------


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def pair(host: Host) -> Iterator[tuple[VisitingBrowser, Page]]:
    """A browser that has the place, and the page behind it."""
    opened: dict[str, Any] = {}

    def wait() -> None:
        opened["context"] = visited(host.invitation)
        opened["browser"] = opened["context"].__enter__()

    with running(wait):
        page = host.page()
    yield opened["browser"], page
    with running(opened["context"].__exit__, None, None, None), contextlib.suppress(Answer, OSError):
        while page.asked()["do"] != "end":
            pass


def head(asked: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"task": asked["task"], "error": None, **more}).encode() + b"\n"


def opens(page: Page, classifier: Exported, **changes: Any) -> None:
    """Says that the file is open there."""
    outputs = [{"name": spec.name, "shape": list(spec.shape)} for spec in classifier.manifest.outputs]
    asked = page.asked()
    assert asked["do"] == "open"
    page.say(head(asked, **{"proof_error": 0.0, "outputs": outputs, **changes}))


def samples(count: int) -> tuple[Sample, ...]:
    return open_data(DEMO, num_classes=24, limit=count, truth="none").samples


def opened(pair: tuple[VisitingBrowser, Page], classifier: Exported, **changes: Any) -> Any:
    browser, page = pair
    with running(browser.open, classifier.path, classifier.manifest, 1, 9) as found:
        opens(page, classifier, **changes)
    if "error" in found:
        raise found["error"]
    return found["result"]


def answered(pair: tuple[VisitingBrowser, Page], artifact: Any, reply: Any, count: int = 3) -> Any:
    """What comes of asking for so many pictures where the page replies so."""
    unreadable: dict[str, str] = {}
    with running(artifact.answers, samples(count), None, unreadable) as found:
        asked = pair[1].asked()
        pair[1].say(reply(asked))
    if "error" in found:
        raise found["error"]
    return *found["result"], unreadable


def test_pictures_travel_as_they_are_and_numbers_come_back(
    pair: tuple[VisitingBrowser, Page], native_classifier: Exported
) -> None:
    artifact, page = opened(pair, native_classifier), pair[1]
    numbers = np.arange(72, dtype=np.float32).reshape(3, 24)

    def reply(asked: dict[str, Any]) -> bytes:
        drawn = page.ask("GET", "file", name=asked["pictures"][0])
        assert drawn.startswith(b"\x89PNG")
        return head(asked, unread=[None] * 3) + numbers.tobytes()

    kept, (logits,), unreadable = answered(pair, artifact, reply)
    assert (kept, unreadable) == ([0, 1, 2], {})
    assert np.array_equal(logits, numbers)


def test_a_picture_that_this_browser_cannot_read_is_left_out_and_named(
    pair: tuple[VisitingBrowser, Page], native_classifier: Exported
) -> None:
    artifact = opened(pair, native_classifier)
    kept, (logits,), unreadable = answered(
        pair, artifact, lambda asked: head(asked, unread=[None, "it is a TIFF", None]) + bytes(4 * 48)
    )
    assert kept == [0, 2] and logits.shape == (2, 24)
    assert list(unreadable.values()) == ["in the browser: it is a TIFF"]


def floats(*values: float) -> bytes:
    return np.resize(np.array(values, np.float32), 72).tobytes()


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (lambda asked: head(asked, unread=[None] * 3) + bytes(4), "4 bytes of numbers for 3 pictures of 96 bytes each"),
        (lambda asked: head(asked, unread=[None]) + bytes(288), "does not say which of 3 pictures it read"),
        (lambda asked: head(asked, unread=7) + bytes(288), "does not say which of 3 pictures it read"),
        (
            lambda asked: head(asked, unread=[None] * 3) + floats(1, np.nan),
            "gives NaN or infinite values",
        ),
        (lambda asked: head(asked, unread=[None] * 3) + floats(np.inf), "gives NaN or infinite values"),
        (lambda asked: head({"task": 99}), "answered what was not asked"),
        (lambda asked: head(asked, error="no memory \x1b[2J"), r"browser: no memory \[2J"),
        (lambda asked: b"[]\n", "is no answer"),
        (lambda asked: b"\xff" * 9, "is no answer"),
        (lambda asked: b"", "is no answer"),
    ],
)
def test_what_is_no_answer_is_refused(
    pair: tuple[VisitingBrowser, Page], native_classifier: Exported, reply: Any, sentence: str
) -> None:
    artifact = opened(pair, native_classifier)
    with pytest.raises(EdgecvxError, match=sentence):
        answered(pair, artifact, reply)


def test_more_numbers_than_were_asked_for_are_not_even_read(
    pair: tuple[VisitingBrowser, Page], native_classifier: Exported
) -> None:
    artifact, page = opened(pair, native_classifier), pair[1]
    with running(artifact.answers, samples(3), None, {}) as found:
        page.asked()
        with pytest.raises((Answer, OSError)):  # the connection is closed in its face
            page.say(bytes(1 << 20))
    assert isinstance(found["error"], DeviceError)
    assert "it sent 1048576 bytes at once" in str(found["error"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"proof_error": 0.9}, "a file that is off by 0.9 was not to be opened"),
        ({"proof_error": None}, "a file that is off by None was not to be opened"),
        ({"outputs": []}, "has other outputs in the browser than its manifest says"),
        ({"error": "it computes something else"}, "browser: it computes something else"),
    ],
)
def test_a_file_that_is_another_one_there_is_not_asked(
    pair: tuple[VisitingBrowser, Page], native_classifier: Exported, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(EdgecvxError, match=sentence):
        opened(pair, native_classifier, **changes)


def test_only_files_of_the_engine_answer_there(pair: tuple[VisitingBrowser, Page], small_classifier: Exported) -> None:
    with pytest.raises(RuntimeFailedError, match=r"a browser runs files of the native engine alone \(\.ecvx\)"):
        pair[0].open(small_classifier.path, small_classifier.manifest, 1, 9)


def test_a_page_that_is_reloaded_opens_the_file_again_and_answers(
    pair: tuple[VisitingBrowser, Page], native_classifier: Exported
) -> None:
    artifact, page = opened(pair, native_classifier), pair[1]
    with running(artifact.answers, samples(3), None, {}) as found:
        page.asked()
        page.join()
        opens(page, native_classifier)
        asked = page.asked()
        page.say(head(asked, unread=[None] * 3) + bytes(288))
    assert found["result"][0] == [0, 1, 2]


def test_answers_are_kept_by_the_builds_of_engine_and_browser(
    pair: tuple[VisitingBrowser, Page], native_classifier: Exported
) -> None:
    one, several = (pair[0].key(native_classifier.path, threads) for threads in (1, 2))
    assert one["browser"] == ["Chrome", "156.0.7.8", "Android 14", None]
    assert len(one["engine"]) == 64 and one["engine"] != several["engine"]


def test_a_photo_travels_as_the_bytes_of_its_file(tmp_path: Path, native_classifier: Exported) -> None:
    Image.new("RGB", (90, 80), "red").save(tmp_path / "red.jpg")
    (sample,) = open_data(tmp_path, num_classes=24, truth="none").samples
    spec = native_classifier.manifest.model.preprocess
    assert visiting._encoded(sample, spec) == (tmp_path / "red.jpg").read_bytes()


def test_answers_come_from_here_or_from_one_browser(native_classifier: Exported, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--device browser:2 does not work here"):
        run(native_classifier, tmp_path, device="browser:2")
