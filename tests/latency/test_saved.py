"""What a page measured by itself becomes a benchmark through the checks of any device, or is refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chromium import BINARY, Browser
from pretended_page import PHONE, events
from site_server import serve
from waiting import wait_until
from web_sites import site_of

from edgecvx.errors import EdgecvxError
from edgecvx.latency.saved import WHERE_FROM, benchmark_of
from edgecvx.report.read import read
from edgecvx.spec import to_json
from edgecvx.web.files import site_files

if TYPE_CHECKING:
    from small_classifier import Exported


def saved(classifier: Exported, **changes: Any) -> dict[str, Any]:
    """A file as the page saves it: one file, with one thread and with two."""
    order = {"artifacts": [{"id": "a0"}, {"id": "a1"}], "rounds": 4, "runs": 40, "sustained_minutes": 0}
    told = list(events({**order, "first_round": 0, "skip": {}}))
    made = {
        **{"schema_version": 1, "kind": "browser-benchmark", "edgecvx": "0.1.0", "browser": PHONE, "kept": "ab" * 16},
        **{"rounds": 4, "runs": 40, "manifests": [to_json(classifier.manifest)]},
        "artifacts": [{"manifest": 0, "threads": 1}, {"manifest": 0, "threads": 2}],
        "events": told,
    }
    copied: dict[str, Any] = json.loads(json.dumps({**made, **changes}))
    return copied


def test_a_file_that_a_page_saved_is_a_benchmark_that_says_so(native_classifier: Exported, tmp_path: Path) -> None:
    (tmp_path / "phone.json").write_text(json.dumps(saved(native_classifier)))
    (found,) = read([tmp_path]).benchmarks
    (device,) = found.devices
    assert (device.error, device.fingerprint.name) == (None, "browser (saved by the page)")
    assert device.fingerprint.facts["measured by"] == WHERE_FROM
    assert found.warnings[0] == f"browser (saved by the page): {WHERE_FROM}"
    assert [m.threads for m in device.measured] == [1, 2]
    assert [m.model_summary.samples for m in device.measured if m.model_summary] == [40, 40]


def test_it_stands_beside_what_was_measured_elsewhere_of_the_same_file(native_classifier: Exported) -> None:
    """By the hash over its files, which only its manifest knows here."""
    from edgecvx.latency.request import ArtifactFiles

    (device,) = benchmark_of(saved(native_classifier)).devices
    assert device.measured[0].identity.sha256 == ArtifactFiles.read(native_classifier.path).identity.sha256


def test_a_page_that_was_stopped_is_told(native_classifier: Exported) -> None:
    cut = saved(native_classifier)
    (device,) = benchmark_of({**cut, "events": cut["events"][:9]}).devices
    assert device.error == "the page was stopped before it was done"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schema_version": 2}, "its schema_version is 2, this edgecvx reads 1"),
        ({"rounds": 0}, "0 rounds in it cannot be"),
        ({"runs": 10**7}, "10000000 runs in it cannot be"),
        ({"runs": 4}, "10 runs in one turn were not asked for"),
        ({"kept": "<b>"}, "known again is none"),
        ({"artifacts": [{"manifest": 1, "threads": 1}]}, "there is no manifest 1 in it"),
        ({"artifacts": [{"manifest": 0, "threads": 1000}]}, "1000 threads do not work"),
        ({"artifacts": [{"manifest": 0, "threads": 1}]}, "there is no artifact 'a1'"),
        ({"manifests": [{}]}, "manifest 0 has manifest version None"),
        ({"events": [7]}, "an event in it is no object"),
        ({"events": [{"event": "done"}] * 5000}, "more than there is to tell"),
        ({"browser": {"user_agent": 1}}, "expected str"),
        ({"more": 1}, "unknown more"),
    ],
)
def test_what_no_page_of_ours_saves_is_refused(
    native_classifier: Exported, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(EdgecvxError, match=sentence):
        benchmark_of(saved(native_classifier, **changes))


def test_a_file_with_one_time_below_zero_is_damaged(native_classifier: Exported, tmp_path: Path) -> None:
    changed = saved(native_classifier)
    turn = next(event for event in changed["events"] if event["event"] == "turn")
    turn["turn"]["samples_ns"][0] = -1
    (tmp_path / "phone.json").write_text(json.dumps(changed))
    with pytest.raises(EdgecvxError, match=r"phone\.json: damaged, browser \(saved by the page\): its runner sent"):
        read([tmp_path / "phone.json"])


@pytest.mark.skipif(BINARY is None, reason="no chromium in the path")
def test_a_real_page_measures_and_saves_what_the_report_reads(native_classifier: Exported, tmp_path: Path) -> None:
    files = {**site_of(native_classifier.path), **site_files()}
    with Browser(tmp_path) as browser, serve(files) as url:
        tab = browser.open(f"{url}NOTICE.txt")  # a page of this site that does nothing else meanwhile
        tab.save_downloads(tmp_path)
        tab.run(f"import('./bench.js').then(({{ panel }}) => void panel(document.body, {json.dumps(url)}))")
        tab.click("button")
        tab.wait("document.body.innerText.includes('Done.')")
        rows = tab.run("[...document.querySelectorAll('tr')].map((row) => row.innerText.split('\\t'))")
        tab.click("button + button")
        wait_until(lambda: list(tmp_path.glob("edgecvx-browser-*.json")), "the file is saved")
    assert [row[1] for row in rows[1:]] == ["1", "2"]
    assert {row[-1] for row in rows[1:]} == {"20"}
    (found,) = read([next(tmp_path.glob("edgecvx-browser-*.json"))]).benchmarks
    (device,) = found.devices
    assert [(m.error, m.threads_told) for m in device.measured] == [(None, 1), (None, 2)]
    assert all(m.end_to_end_summary is not None for m in device.measured)
