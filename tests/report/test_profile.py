from __future__ import annotations

from rich.console import Console

from swaplab.host.attach.idle import Idle
from swaplab.host.draw import Unreadable
from swaplab.host.estimate import Estimate
from swaplab.host.profile import CgroupProfile, CompressorProfile, Profile, Timing, with_idle
from swaplab.linux.crypto import COMPRESSORS
from swaplab.report.parts import Part
from swaplab.report.profile import profile_report
from swaplab.report.terminal import rendered


def group(cgroup: str, pages: int) -> CgroupProfile:
    part = Estimate(pages // 4, pages // 5, pages // 3)
    compressor = CompressorProfile(pages << 10, Estimate(pages << 11, pages << 10, pages << 12), 2.5, {}, part, part)
    return CgroupProfile(cgroup, 3, pages, 5, 6, 70, 9, 2, part, part, dict.fromkeys(COMPRESSORS, compressor))


def make(unreadable: int = 0, without_memory: int = 0) -> Profile:
    missing = [Unreadable(pid, f"p{pid}", "vanished" if pid % 2 else "no permission") for pid in range(unreadable)]
    timing: dict[str, Timing] = dict.fromkeys(COMPRESSORS, Timing(12.3, 4.5))
    return Profile(
        [group("/a[b]", 100), group("/big", 1 << 20)], group("total", 2 << 20), missing, without_memory, 0, timing
    )


def text(part: Part) -> list[str]:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(rendered(part))
    return capture.get().splitlines()


def test_cgroups_are_in_order_of_size() -> None:
    rows = [
        line.split()
        for line in text(profile_report(make())[0])
        if line.split() and line.split()[0] in ("/a[b]", "/big", "total")
    ]
    assert [row[0] for row in rows] == ["/big", "/a[b]", "total"]
    assert rows[0][1:] == ["3", "4.00G", "280K", "25%", "50%", "50%"]


def test_compressors() -> None:
    rows = {line.split()[0]: line.split() for line in text(profile_report(make())[1]) if line.strip()}
    assert rows["lzo"][1:] == ["2.00G", "4.00G", "2.00G..8.00G", "2.50", "-", "-", "-", "25%", "25%", "12", "4"]


def test_what_is_missing_is_named() -> None:
    said = " ".join(text(profile_report(make(unreadable=20, without_memory=4))[-1]))
    assert "NOT READ, no permission: 10 processes: p0 (0), p2 (2)" in said
    assert "NOT READ, vanished: 10 processes: p1 (1)" in said
    assert "and 2 more, in --json" in said
    assert "4 kernel threads" in said
    assert "2 pages that went away" in said
    assert "20.0K that is mlocked" in said
    assert "24.0K of shared memory" in said


def test_nothing_is_said_of_what_is_not_there() -> None:
    said = " ".join(text(profile_report(make())[-1]))
    assert "NOT READ" not in said
    assert "kernel threads" not in said


def test_what_is_idle_has_a_table() -> None:
    found = with_idle(make(), [Idle("/big", 600.4, 2000, 1024), Idle("/nowhere", 600, 9, 9)])
    assert [each.cgroup for each in found.idle] == ["/big", "total"]
    assert found.idle[0].saved_bytes["lzo"] == 1024 * 2048
    lines = " ".join(text(profile_report(found)[1]))
    assert "not used for 600 s" in lines
    assert "4.00M 51%" in " ".join(lines.split())
    assert "how much is known, not which pages" in " ".join(text(profile_report(found)[-1]))
