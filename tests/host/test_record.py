"""Recordings of programs whose accesses are known by construction (programs.c)."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.host.conftest import SOURCE, Recorded

from swaplab.errors import InputError, SwaplabError
from swaplab.host.footprint import footprint
from swaplab.host.record import NotRecorded, record
from swaplab.host.settings import machine_settings
from swaplab.scenario.load import load_scenario
from swaplab.scenario.profile import read_profile
from swaplab.scenario.trace import EventKind, Trace

Record = Callable[..., Recorded]


def w(*pages: int) -> list[str]:
    return [f"w{page}" for page in pages]


def test_a_walk_is_recorded_access_by_access_without_a_window(recorded: Record) -> None:
    walk = ["w0", "w3", "r3", "w1", "r0", "r0", "w0", "w999", "r2"]
    assert recorded("walk", *walk, window=0).walk() == walk


def test_a_static_program_is_recorded(programs: Path, tmp_path: Path) -> None:
    static = tmp_path / "static"
    subprocess.run(["cc", "-static", "-no-pie", "-pthread", "-o", static, SOURCE], check=True)  # noqa: S603, S607
    summary = record([str(static), "walk", "w4", "r5"], tmp_path / "out", window=0)
    assert Recorded(summary, tmp_path / "out").walk() == ["w4", "r5"]


def test_what_holds_contents_or_the_command_line_is_its_owners(recorded: Record, tmp_path: Path) -> None:
    directory = Path(recorded("walk", "w4").summary.directory)
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes == dict.fromkeys(["content.parquet", "scenario.toml", "trace.parquet"], 0o600)


def test_a_name_may_be_any_bytes(programs: Path, tmp_path: Path) -> None:
    """It is kept as it is, and what comes of it can be run."""
    name = os.fsdecode(b"\xff\x1b]0;x\n'\"\\\xe2\x80\xae")
    (tmp_path / name).symlink_to(programs)
    summary = record([str(tmp_path / name), "walk", "w4", name], tmp_path / "out")
    assert Trace.open(tmp_path / "out/trace.parquet").info.command == [str(tmp_path / name), "walk", "w4", name]
    assert summary.streams == [f"{name}:0"]
    scenario = load_scenario(tmp_path / "out/scenario.toml")
    assert scenario.name == r"\xff\x1b]0;x\n'" + '"' + r"\\u202e"


def test_a_store_over_a_page_boundary_touches_both_pages(recorded: Record) -> None:
    assert recorded("straddle").walk() == w(0, 1)


def test_an_atomic_operation_writes(recorded: Record) -> None:
    assert recorded("add").walk()[-1] == "w0"


def test_a_window_drops_repeats_but_not_the_first_write(recorded: Record) -> None:
    assert recorded("again", "8").walk() == ["r0", "w0", *w(*range(1, 9))]


def test_a_window_ends(recorded: Record) -> None:
    assert recorded("again", "100").walk() == ["r0", "w0", *w(*range(1, 101)), "r0"]


def test_a_page_in_use_is_recorded_again_and_again(recorded: Record) -> None:
    turns = 5_000_000  # a window forgets after a million blocks of code; a turn is one or less
    assert 2 <= len(recorded("spin", str(turns)).walk()) <= 7


def test_threads_share_a_stream(recorded: Record) -> None:
    result = recorded("threads")
    (walk,) = result.streams().values()
    pages = [int(access[1:]) for access in walk]
    assert [page for page in pages if page < 50] == list(range(50))
    assert [page for page in pages if page >= 50] == list(range(50, 100))
    assert len(result.summary.streams) == 1


def test_forks_and_executed_scripts_are_streams_in_one_order(recorded: Record, programs: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#! {programs} walk\n")
    script.chmod(0o755)
    result = recorded("forks", str(script))
    as_walk_sees_it = ["r0", "w10"]  # the path of the script comes first
    assert result.walk() == [*w(*range(10)), *as_walk_sees_it]
    assert result.streams() == {
        "programs:1": w(*range(5)),
        "programs:0": w(*range(5, 10)),
        "script:2": as_walk_sees_it,
    }
    assert result.summary.not_recorded == []


def test_spawned_programs_are_recorded_and_foreign_ones_named(recorded: Record, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + b"\xb7\0")
    foreign.chmod(0o755)
    result = recorded("spawns", str(foreign))
    assert result.walk() == w(3)
    assert result.summary.not_recorded == [NotRecorded(str(foreign), "not for x86-64", 1)]


def test_memory_of_files_is_left_out_until_it_is_private(recorded: Record, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(4 * 4096))
    result = recorded("files", str(file), window=0)
    assert result.walk() == ["w1", "r1", "r2", "w0"]
    assert result.summary.file_backed >= 5


def test_system_calls_that_move_data_are_accesses(recorded: Record, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(4 * 4096))
    assert recorded("kernel", str(file)).walk() == [*w(0, 1, 2), "r3"]


def test_the_profile_holds_pages_of_the_program(recorded: Record) -> None:
    result = recorded("fill", "3000", sample_pages=256)
    path = result.directory / "content.parquet"
    pages = read_profile(path, path).pages.view(np.uint32)
    filled = pages[(pages[:, 0] >= 1000) & (pages[:, 0] < 4000)]
    assert (filled[:, :] == filled[:, :1]).mean() > 0.9  # sampled while it is being filled, a page may be torn
    assert 0.9 * 256 <= result.summary.sampled <= 256
    assert len(np.unique(filled[:, 0])) > 0.8 * 256
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_sample_stands_for_all_pages(recorded: Record) -> None:
    result = recorded("fill", "500", sample_pages=16)
    info = Trace.open(result.directory / "trace.parquet").info
    assert result.summary.sampled == 16
    assert result.summary.pages == info.pages > 500
    assert info.command == result.summary.command
    assert info.window == 64


def test_a_recording_is_a_scenario_that_loads(recorded: Record) -> None:
    result = recorded("fill", "500")
    scenario = load_scenario(result.directory / "scenario.toml")
    peak = result.summary.peak
    assert scenario.cgroups["app"].memory_max == (peak.anonymous + peak.shared) * 3 // 4 * 4096
    assert scenario.machine == machine_settings().machine
    assert sorted(path.name for path in result.directory.iterdir()) == [
        "content.parquet",
        "scenario.toml",
        "trace.parquet",
    ]


def test_the_exit_status_is_told(recorded: Record) -> None:
    assert recorded("fill", "1").summary.status == 7


def test_a_killed_program_leaves_what_was_recorded(recorded: Record) -> None:
    result = recorded("fill", "300", str(int(signal.SIGKILL)))
    assert result.summary.status == -signal.SIGKILL
    assert result.walk() == w(*range(300))


def test_a_program_that_closes_all_descriptors_keeps_its_files(recorded: Record, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"....")
    result = recorded("closes", str(file), window=0)
    assert result.summary.status == 0
    assert file.read_bytes() == b"kept"
    assert result.walk() == w(1, 2, *(page % 1000 for page in range(20000)))


def test_summary_and_trace_agree(recorded: Record) -> None:
    result = recorded("walk", "w1")
    info = Trace.open(result.directory / "trace.parquet").info
    assert info.accesses == result.summary.recorded < result.summary.accesses
    assert info.extra["accesses_seen"] == result.summary.accesses
    assert msgspec.json.decode(msgspec.json.encode(result.summary))["status"] == 0


def nothing_is_left(directory: Path) -> bool:
    return not list(directory.iterdir())


def test_an_existing_directory_is_an_error(programs: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        record([str(programs), "walk"], tmp_path)


def test_a_full_disk_leaves_nothing(programs: Path, tmp_path: Path, recorded: Record) -> None:
    recorded("walk")  # the tool is built
    directory = tmp_path / "small"
    directory.mkdir()
    command = f"record([{str(programs)!r}, 'fill', '100000'], Path({str(directory / 'out')!r}), window=0)"
    code = f"from pathlib import Path; from swaplab.host.record import record; {command}"
    limits = (4 << 20, 4 << 20)  # the tool may raise the soft limit, which is the program's; not the hard one
    result = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert "File too large" in result.stderr
    assert nothing_is_left(directory)


def test_a_failure_of_the_last_file_leaves_nothing(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("swaplab.host.record.write_profile", full)
    with pytest.raises(OSError, match="No space"):
        record([str(programs), "walk", "w1"], tmp_path / "out")
    assert nothing_is_left(tmp_path)


@pytest.mark.parametrize(("window", "sample_pages"), [(-1, 0), (1 << 40, 0), (0, 1 << 40)])
def test_options_are_bounded(window: int, sample_pages: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a number from 0 to"):
        record(["true"], tmp_path / "out", window=window, sample_pages=sample_pages)


def test_a_tool_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swaplab.host.record.find_tool", lambda _: Path("/bin/false"))
    with pytest.raises(SwaplabError, match="did not start under valgrind"):
        record(["true"], tmp_path / "out")
    assert nothing_is_left(tmp_path)


def test_no_sample_is_a_recording_too(recorded: Record) -> None:
    result = recorded("walk", "w1", sample_pages=0)
    assert result.summary.sampled == 0
    assert not (result.directory / "content.parquet").exists()
    load_scenario(result.directory / "scenario.toml")


# What becomes of memory -----------------------------------------------------------------------------------------------


def test_what_is_unmapped_or_discarded_is_freed(recorded: Record) -> None:
    result = recorded("frees", window=0)
    assert [what for _, what in result.history()] == [*w(*range(10)), "unmap 2-4", "w3", "discard 6-7", "w6", "exit"]
    assert result.summary.freed >= 5


def test_a_page_keeps_its_number_when_it_is_moved_and_what_follows_there_is_new(recorded: Record) -> None:
    result = recorded("moves", window=0)
    assert result.walk()[:5] == [*w(*range(4)), "r2"]
    (stream,) = Trace.open(result.directory / "trace.parquet").info.streams
    new = [first for first, pages in stream.ranges or [] if first >= 1 << 40]
    assert len(new) == 1


@pytest.mark.parametrize("kind", ["anonymous", "memfd", "posix", "system-v"])
def test_shared_memory_is_one_whoever_maps_it(recorded: Record, kind: str) -> None:
    result = recorded("shares", kind, window=0)
    parent, child, shared = Trace.open(result.directory / "trace.parquet").info.streams
    assert (parent.kind, child.kind, shared.kind, shared.pages) == ("process", "process", "shared", 3)
    assert result.summary.peak.shared == 3
    assert result.walk() == ["w0", "w1", "w1", "w2", "r2"]
    kinds = [
        event["event"] for chunk in Trace.open(result.directory / "trace.parquet").chunks() for event in chunk.events
    ]
    assert [kinds.count(kind) for kind in (EventKind.SHARE, EventKind.REMOVE)] == [2, 1]


def test_a_child_has_its_parents_pages_until_one_of_them_writes(recorded: Record, tmp_path: Path) -> None:
    result = recorded("forks", str(tmp_path), window=0)
    trace = Trace.open(result.directory / "trace.parquet")
    assert [stream.parent for stream in trace.info.streams] == [None, 0]
    parent, child = result.summary.processes[:2]
    assert footprint(trace).anonymous < parent.recorded + child.recorded - 10


def test_a_child_of_vfork_has_its_parents_memory_until_it_executes(recorded: Record) -> None:
    result = recorded("borrows", window=0)
    assert result.streams() == {"programs:0": [*w(1, 0), "r0"], "programs:1": w(1)}


def test_an_access_that_faults_is_none(recorded: Record) -> None:
    assert recorded("faults", window=0).walk() == ["w0"]


def test_programs_are_told_of_no_instructions_that_valgrind_is_slow_at(recorded: Record) -> None:
    assert recorded("features").walk() == w(0)


def test_what_the_program_may_write_does_not_limit_the_recording(recorded: Record) -> None:
    result = recorded("limits")
    assert result.summary.status == 0
    assert len(result.walk()) == 10000


def test_what_valgrind_cannot_run_is_told_and_the_rest_is_kept(recorded: Record) -> None:
    result = recorded("illegal")
    assert result.summary.status == -signal.SIGILL
    assert result.walk() == ["w0"]
    assert any("unhandled instruction" in line for line in result.summary.complaints)


def test_a_daemon_is_followed_as_long_as_it_lives(recorded: Record) -> None:
    result = recorded("daemonizes")
    assert result.streams()["programs:2"] == ["w1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")
def test_who_gives_up_rights_and_root_directory_is_recorded_on(recorded: Record) -> None:
    result = recorded("drops")
    assert result.streams() == {"programs:0": ["w0"], "programs:1": ["w1"]}


def test_the_kernel_counts_what_is_recorded(recorded: Record) -> None:
    (process,) = recorded("fill", "5000").summary.processes
    assert process.kernel > 5000
    assert abs(process.recorded - process.kernel) <= 2


def test_arguments_and_environment_are_memory_that_was_written(
    recorded: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = recorded("walk", "w4").summary.peak.anonymous
    monkeypatch.setenv("LONG", "x" * 100 * 1024)
    summary = recorded("walk", "w5").summary
    assert 24 <= summary.peak.anonymous - before <= 27
    (process,) = summary.processes
    assert process.recorded == process.kernel


def test_a_program_is_ended_after_its_duration(recorded: Record) -> None:
    summary = recorded("sleeps", duration=1.0).summary
    assert (summary.ended_by, summary.status) == ("--duration", -signal.SIGTERM)
    assert summary.recorded > 0


def test_of_what_is_skipped_each_page_is_touched_once(recorded: Record) -> None:
    again = recorded("again", "100", skip=1000.0).walk()
    assert again == ["r0", "w0", *w(*range(1, 101))]


def test_two_recordings_are_the_same_bytes(recorded: Record) -> None:
    traces = [recorded("fill", "300").directory / "trace.parquet" for _ in range(2)]
    assert traces[0].read_bytes() == traces[1].read_bytes()
