"""What keeps a site on a phone, in a real browser: without a network, through new exports and half-finished uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import pytest
from chromium import BINARY, Browser, Tab
from site_server import serve

from edgecvx.web.files import site_files
from edgecvx.web.offline import WORKER, with_files

pytestmark = pytest.mark.skipif(BINARY is None, reason="no chromium in the path")

PAGE = """<!doctype html>
<meta charset="utf-8"><title>…</title><link rel="icon" href="data:,"><script type="module" src="page.js"></script>
"""
SCRIPT = """
const answer = await fetch("a model.ecvx");
const pair = `VERSION/${answer.ok ? await answer.text() : "none"}`;
const pairs = JSON.parse(localStorage.pairs ?? "[]");
localStorage.pairs = JSON.stringify([...new Set([...pairs, pair])]);
document.title = pair;
navigator.serviceWorker?.register("sw.js").catch(() => {});
"""
"""Notes of which export it is, and the model it was given."""
READY = "navigator.serviceWorker.ready.then(() => true)"
CONTROLLED = "navigator.serviceWorker.controller !== null"


@pytest.fixture
def host() -> dict[str, bytes]:
    """What the host has, which a test may change."""
    return {}


@pytest.fixture
def address(host: dict[str, bytes]) -> Iterator[str]:
    """A host that sends no headers of isolation, as most do not."""
    with serve(host, isolated=False) as address:
        yield address


def exported(version: str, worker: bytes | None = None) -> dict[str, bytes]:
    """A small site: a page, its script, and a model that says which export it is of."""
    files = {
        "index.html": PAGE.encode(),
        "page.js": SCRIPT.replace("VERSION", version).encode(),
        "a model.ecvx": version.encode(),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return {**files, WORKER: with_files(worker or site_files()[WORKER], hashes)}


def below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def titled(tab: Tab, title: str) -> None:
    tab.wait(f"document.title === {title!r}")


def visited(browser: Browser, address: str, title: str) -> Tab:
    """A page whose files are kept."""
    tab = browser.open(address)
    titled(tab, title)
    tab.wait(READY)
    return tab


def reload(tab: Tab) -> None:
    tab.run("document.title = ''")
    tab.call("Page.reload")


def test_a_site_that_was_visited_once_works_without_a_network(browser: Browser) -> None:
    with serve(exported("1"), isolated=False) as address:
        tab = visited(browser, address, "1/1")
    reload(tab)
    titled(tab, "1/1")
    assert tab.console == []
    tab.close()


def test_a_page_gets_threads_from_a_host_that_sends_no_headers_for_them(
    browser: Browser, host: dict[str, bytes], address: str
) -> None:
    host |= exported("1")
    tab = visited(browser, address, "1/1")
    assert tab.run("crossOriginIsolated") is False
    reload(tab)
    titled(tab, "1/1")
    assert tab.run("crossOriginIsolated && new SharedArrayBuffer(8).byteLength === 8")
    assert tab.run("fetch('page.js').then((a) => a.headers.get('content-type'))") == "text/javascript; charset=utf-8"
    tab.close()


def test_a_new_export_replaces_the_old_one_at_once_and_is_never_mixed_with_it(
    browser: Browser, host: dict[str, bytes], address: str
) -> None:
    host |= exported("1")
    tab = visited(browser, address, "1/1")
    reload(tab)
    titled(tab, "1/1")
    host |= exported("2")
    reload(tab)
    titled(tab, "2/2")  # without another reload: the worker opens the page anew
    assert tab.run("localStorage.pairs") == '["1/1","2/2"]'
    assert tab.run("caches.keys().then(async ([name]) => (await (await caches.open(name)).keys()).length)") == 3
    tab.close()


def test_half_an_upload_is_not_taken_and_the_export_before_it_goes_on_working(
    browser: Browser, host: dict[str, bytes], address: str
) -> None:
    host |= exported("1")
    tab = visited(browser, address, "1/1")
    complete = exported("2")
    host |= {name: content for name, content in complete.items() if name != "a model.ecvx"}
    reload(tab)
    titled(tab, "1/1")
    tab.run("navigator.serviceWorker.getRegistration().then((found) => found.update()).then(() => {})")
    tab.wait("navigator.serviceWorker.getRegistration().then((found) => found.installing === null)")
    reload(tab)
    titled(tab, "1/1")
    host |= complete
    reload(tab)
    titled(tab, "2/2")
    assert tab.run("localStorage.pairs") == '["1/1","2/2"]'
    tab.close()


def test_a_worker_that_looks_at_no_hash_mixes_two_exports(
    browser: Browser, host: dict[str, bytes], address: str
) -> None:
    """The same half of an upload, and why it is not taken."""
    careless = site_files()[WORKER].replace(b"(await sha256(content)) === SITE.files[name]", b"true")
    assert careless != site_files()[WORKER]
    host |= exported("1", careless)
    tab = visited(browser, address, "1/1")
    host |= {name: content for name, content in exported("2", careless).items() if name != "a model.ecvx"}
    reload(tab)
    titled(tab, "2/1")
    tab.close()


def test_a_failure_of_the_host_is_not_kept(browser: Browser, host: dict[str, bytes]) -> None:
    """What answers 404 once is asked for again, and until all is there nothing is kept."""
    whole = exported("1")
    host |= {name: content for name, content in whole.items() if name != "a model.ecvx"}
    with serve(host, isolated=False) as address:
        tab = browser.open(address)
        titled(tab, "1/none")
        host |= whole
        reload(tab)
        titled(tab, "1/1")
        tab.wait(READY)
    reload(tab)
    titled(tab, "1/1")
    tab.close()


def test_a_file_the_browser_threw_away_is_fetched_again_and_held_to_its_hash(
    browser: Browser, host: dict[str, bytes], address: str
) -> None:
    host |= exported("1")
    tab = visited(browser, address, "1/1")
    tab.wait(CONTROLLED)
    away = "caches.keys().then(async ([name]) => caches.delete(name))"
    asked = "fetch('a model.ecvx').then((answer) => answer.text(), () => 'refused')"
    assert tab.run(away) and tab.run(asked) == "1"
    host["a model.ecvx"] = b"2"
    assert tab.run(asked) == "1"
    assert tab.run(away) and tab.run(asked) == "refused"
    tab.close()


def test_two_sites_of_one_host_keep_their_own(browser: Browser) -> None:
    with serve({**below("one", exported("1")), **below("deep/er", exported("2"))}, isolated=False) as address:
        tab = visited(browser, f"{address}one/", "1/1")
        tab.call("Page.navigate", url=f"{address}deep/er/?x#y")
        titled(tab, "2/2")
        tab.wait(READY)
    for path, title in (("one/index.html", "1/1"), ("deep/er/", "2/2"), ("one/?again", "1/1")):
        tab.call("Page.navigate", url=address + path)
        titled(tab, title)
    tab.close()


def test_what_is_not_of_the_site_is_passed_on(browser: Browser, host: dict[str, bytes], address: str) -> None:
    host |= {**exported("1"), "mine.txt": b"one"}
    tab = visited(browser, address, "1/1")
    tab.wait(CONTROLLED)
    for content in ("one", "two"):
        host["mine.txt"] = content.encode()
        assert tab.run("fetch('mine.txt').then((a) => a.text())") == content
    assert tab.run("fetch('%zz').then((a) => a.status)") == 404
    tab.close()


def test_a_site_that_is_gone_from_its_host_leaves_the_phone(
    browser: Browser, host: dict[str, bytes], address: str
) -> None:
    """What took its place is seen at the next visit but one."""
    host |= exported("1")
    tab = visited(browser, address, "1/1")
    host.clear()
    host["index.html"] = b"<!doctype html><title>something else</title>"
    reload(tab)
    tab.wait("navigator.serviceWorker.getRegistration().then((found) => found === undefined)")
    reload(tab)
    titled(tab, "something else")
    assert tab.run("caches.keys().then((names) => names.length)") == 0
    tab.close()


def test_a_worker_without_a_list_keeps_nothing(browser: Browser, host: dict[str, bytes], address: str) -> None:
    """As the file ships: a page under work is always the newest."""
    host |= {**exported("1"), WORKER: site_files()[WORKER]}
    tab = visited(browser, address, "1/1")
    host |= {**exported("2"), WORKER: site_files()[WORKER]}
    reload(tab)
    titled(tab, "2/2")
    tab.close()
