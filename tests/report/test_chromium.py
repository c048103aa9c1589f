"""Pages in a real browser: they open from disk without a word of complaint, and ask nobody for anything."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from swaplab.report.page import write_page
from swaplab.report.parts import Chart, Diagram, Heading, Line, Part, Table, Verbatim

SETTING = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
CHROMIUM = ("chromium", *SETTING, "--host-resolver-rules=MAP * ~NOTFOUND")
PARTS: list[Part] = [
    "A paragraph.",
    Heading("A heading"),
    Table("A table", ["name", "size"], rows=[("a", "1"), None, ("b", "2")]),
    Chart("A chart", "accesses", "MiB", {"a": [(0, 1), (2, 3)], "b": [(1, 1), (2, 2)]}, limit=(1, "memory.max")),
    Diagram({0: "CPU0", 1: "CPU1"}, [Line(0, 0, "write x = 1", ("x = 1",)), Line(1, 1, "read x = 1")], "it is so"),
    Verbatim("echo Y > enabled"),
]


def opened(directory: Path) -> Path:
    """Open the directory's page in a browser without a network, which logs what it complains of and asks for there."""
    net, user = directory / "net.json", directory / "user"
    logs = ["--enable-logging=stderr", f"--log-net-log={net}", f"--user-data-dir={user}"]
    command = [*CHROMIUM, *logs, "--dump-dom", (directory / "page.html").as_uri()]
    with (directory / "dom.html").open("w") as dom, (directory / "log").open("w") as log:
        subprocess.run(command, stdout=dom, stderr=log, check=True, timeout=120)  # noqa: S603 - as is
    return directory


def asked(directory: Path) -> list[str]:
    """What the page asked for: the browser has questions of its own."""
    events = [event.get("params", {}) for event in json.loads((directory / "net.json").read_text())["events"]]
    return [each["url"] for each in events if str(each.get("network_isolation_key")).startswith("file://")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("browser")
    write_page(directory / "page.html", "A page", PARTS)
    return opened(directory)


def test_all_of_it_is_there(browser: Path) -> None:
    dom = (browser / "dom.html").read_text()
    for text in ("A paragraph.", "A heading", "A table", "A chart", "write x = 1", "it is so", "enabled", "memory.max"):
        assert text in dom


def test_the_console_stays_empty_and_no_request_leaves_the_page(browser: Path) -> None:
    assert "CONSOLE" not in (browser / "log").read_text()
    assert asked(browser) == []


def test_complaints_and_requests_are_seen(tmp_path: Path) -> None:
    page = '<img src="http://nowhere.invalid/x.png"><script>console.error("so")</script>'
    (tmp_path / "page.html").write_text(page)
    opened(tmp_path)
    assert "CONSOLE" in (tmp_path / "log").read_text()
    assert asked(tmp_path) == ["http://nowhere.invalid/x.png"]
