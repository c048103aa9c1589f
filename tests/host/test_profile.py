from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.host.fake_proc import PAGE, RESIDENT, Area, add_process
from tests.linux.pool import pool_pages

from swaplab.compress import compress
from swaplab.errors import InputError
from swaplab.host.estimate import Estimate
from swaplab.host.processes import Process, list_processes, with_pids
from swaplab.host.profile import PARTIAL_BYTES_MAX, CgroupProfile, Pages, Profile, profile, write_pages
from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.profile import read_profile


def make_pages(count: int, seed: int = 7) -> NDArray[np.uint8]:
    """`count` pages of each kind."""
    generator = np.random.default_rng(seed)
    zero = np.zeros((count, PAGE), np.uint8)
    same = np.full((count, PAGE), 0x42, np.uint8)
    random = generator.integers(0, 256, (count, PAGE), np.uint8)
    words = generator.choice(["zone", "page", "reclaim", "folio", "swap"], (count, PAGE // 4))
    text = np.array([np.frombuffer(" ".join(line).encode()[:PAGE], np.uint8) for line in words])
    return np.concatenate([zero, same, random, text])


def run(proc: Path, **options: object) -> Profile:
    arguments: dict[str, object] = {"samples": 4000, "seed": 0, "proc": proc} | options
    return profile(list_processes(proc), **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    proc = tmp_path_factory.mktemp("proc")
    for pid, group in ((4, "0::/a"), (5, "0::/b"), (6, "0::/a")):
        pages = make_pages(10, seed=pid)
        add_process(proc, pid, [Area([RESIDENT] * len(pages), pages)], cgroup=group)
    (proc / "2").mkdir()
    (proc / "2" / "status").write_text("Name:\tkthreadd\nPPid:\t0\n")
    (proc / "2" / "cgroup").write_text("0::/\n")
    return proc


def exact(value: int) -> Estimate:
    return Estimate(value, value, value)


def test_everything_sampled_is_exact(fake: Path) -> None:
    found = run(fake)
    pages = np.concatenate([make_pages(10, seed=pid) for pid in (4, 5, 6)])
    stored = [page.tobytes() for page in pages if page.any()]
    assert (found.total.resident_pages, found.total.sampled_pages) == (120, 120)
    assert (found.total.zero_pages, found.total.same_filled_pages) == (exact(30), exact(30))
    for name in COMPRESSORS:
        lengths = [len(compress(name, page)) for page in stored]
        fitting = [length for length in lengths if length <= PAGE]
        compressor = found.total.compressors[name]
        pool = compressor.pool_bytes
        assert pool <= pool_pages(fitting) * PAGE <= pool + PARTIAL_BYTES_MAX
        # As often as fills zspages of every size exactly: then there are none that are not full.
        assert pool * 27720 == pytest.approx(pool_pages(np.repeat(fitting, 27720)) * PAGE, rel=1e-4)
        assert compressor.saved_bytes == exact((30 + len(fitting)) * PAGE - pool)
        assert compressor.refused_pages == exact(len(lengths) - len(fitting))
        assert compressor.whole_pages == exact(sum(length > 3624 for length in fitting))
        assert compressor.length_percentiles["p5"] == sorted(lengths)[4]


def test_shared_memory_is_counted_and_not_sampled(tmp_path: Path) -> None:
    for pid, shared in ((4, 100), (5, 20), (6, 0)):
        add_process(
            tmp_path, pid, [Area([RESIDENT], make_pages(1)[:1])], cgroup=f"0::/{pid}", proportional=1, shared=shared
        )
    found = run(tmp_path)
    assert [each.shared_pages for each in found.cgroups] == [100, 20, 0]
    assert (found.total.shared_pages, found.total.resident_pages) == (120, 3)


def test_a_kernel_thread_is_called_one(fake: Path) -> None:
    threads = with_pids(list_processes(fake), [2], children=False)
    with pytest.raises(InputError, match=r"found kthreadd \(2\), which is a kernel thread or has ended"):
        profile(threads, samples=100, seed=0, proc=fake)


def test_random_pages_are_refused_or_gain_nothing(fake: Path) -> None:
    for compressor in run(fake).total.compressors.values():
        assert compressor.refused_pages.value + compressor.whole_pages.value == 30


def test_cgroups_add_up(fake: Path) -> None:
    found = run(fake)
    assert [(g.cgroup, g.processes, g.resident_pages) for g in found.cgroups] == [
        ("/a", 2, 80),
        ("/b", 1, 40),
    ]
    assert found.without_memory == 1
    for name in COMPRESSORS:
        parts = sum(group.compressors[name].saved_bytes.value for group in found.cgroups)
        assert abs(parts - found.total.compressors[name].saved_bytes.value) <= 2


def without_timing(found: Profile) -> tuple[list[CgroupProfile], CgroupProfile]:
    return found.cgroups, found.total


def test_a_seed_decides_the_sample_of_a_cgroup(fake: Path) -> None:
    one, other = run(fake, samples=30, seed=1), run(fake, samples=30, seed=2)
    assert without_timing(one) == without_timing(run(fake, samples=30, seed=1))
    assert one.total != other.total
    alone = profile(list_processes(fake)[-2:-1], samples=30, seed=1, proc=fake)
    assert alone.cgroups == one.cgroups[1:]


def test_estimates_surround_the_truth(fake: Path) -> None:
    truth = run(fake).cgroups[0]
    hits = 0
    for seed in range(20):
        found = run(fake, samples=30, seed=seed).cgroups[0]
        saved, expected = found.compressors["lz4"].saved_bytes, truth.compressors["lz4"].saved_bytes.value
        hits += saved.low <= expected <= saved.high
        assert found.zero_pages.low < found.zero_pages.value < found.zero_pages.high
    assert hits >= 17


def test_times_are_measured(fake: Path) -> None:
    timing = run(fake).timing
    assert set(timing) == set(COMPRESSORS)
    assert all(0 < t.compress_us < 1e5 and 0 < t.decompress_us < 1e5 for t in timing.values())


def test_nothing_to_read(tmp_path: Path) -> None:
    add_process(tmp_path, 3, [Area([0], np.empty((0, PAGE), np.uint8))])
    with pytest.raises(InputError, match="at least one with resident anonymous memory"):
        run(tmp_path)


def test_only_zero_pages(tmp_path: Path) -> None:
    add_process(tmp_path, 3, [Area([RESIDENT] * 3, np.zeros((3, PAGE), np.uint8))])
    found = run(tmp_path)
    lzo = found.total.compressors["lzo"]
    assert (lzo.pool_bytes, lzo.saved_bytes, lzo.ratio) == (0, exact(3 * PAGE), None)
    assert (lzo.length_percentiles, found.timing) == ({}, {})


def test_the_pages_make_a_content_profile(fake: Path, tmp_path: Path) -> None:
    kept: list[Pages] = []
    run(fake, samples=30, keep=kept.append)
    path = tmp_path / "profile.parquet"
    write_pages(path, kept, "a test")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    read = read_profile(path, "s.toml: content")
    sampled = np.concatenate([pages.data for pages in kept])
    weights = np.concatenate([pages.weights for pages in kept])
    assert weights.sum() == pytest.approx(120)
    assert read.zero_weight == pytest.approx(weights[~sampled.any(axis=1)].sum() / 120, abs=0.02)
    assert read.source == "a test"


CHILD = """
import ctypes, mmap, sys
count = int(sys.argv[1])
memory = mmap.mmap(-1, 5 * count * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
MADV_NOHUGEPAGE = 15
ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(len(memory)), MADV_NOHUGEPAGE)
data = sys.stdin.buffer.read(4 * count * 4096)
memory[:count * 4096] = b"x" * (count * 4096)
memory[:len(data)] = data
sum(memory[page * 4096] for page in range(4 * count, 5 * count))  # read, never written
del data
print("ready", flush=True)
sys.stdin.buffer.read()
"""


@pytest.fixture(scope="module")
def child() -> Iterator[Process]:
    """A process with 500 pages of each kind, and 500 that it has only read."""
    command = [sys.executable, "-c", CHILD, "500"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdin
        assert process.stdout
        process.stdin.write(make_pages(500).tobytes())
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        yield with_pids(list_processes(), [process.pid], children=False)[0]
        process.stdin.close()


def test_a_real_process(child: Process) -> None:
    """Besides the known pages there is the interpreter, with a few thousand pages of its own, few of them special."""
    found = profile([child], samples=60_000, seed=0).total
    assert found.sampled_pages == found.resident_pages
    assert 500 <= found.zero_pages.value < 700
    assert 500 <= found.same_filled_pages.value < 520
    assert 500 <= found.compressors["zstd"].whole_pages.value + found.compressors["zstd"].refused_pages.value < 600
    assert found.zero_pages.low == found.zero_pages.high


def test_a_sample_of_a_real_process(child: Process) -> None:
    everything = profile([child], samples=60_000, seed=0).total
    some = profile([child], samples=400, seed=5).total
    # Of 400 pages about 60 are of memory that was only read: no anonymous memory, so they may weigh nothing.
    assert 300 < some.sampled_pages <= 400
    for name in COMPRESSORS:
        saved = some.compressors[name].saved_bytes
        assert abs(saved.value - everything.compressors[name].saved_bytes.value) < 2 * (saved.high - saved.low)


FOREIGN = """
import contextlib, ctypes, os
from pathlib import Path
import numpy as np
from swaplab.host.draw import draw
from swaplab.host.processes import PROC, Process

PR_SET_DUMPABLE = 4
ready, tell = os.pipe()
end, ours = os.pipe()
other = os.fork()
if not other:
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)
    os.close(ours)
    os.write(tell, b".")
    os.read(end, 1)  # until the reader is gone, who is of another user by then and could not kill this process
    os._exit(0)
os.read(ready, 1)
with contextlib.suppress(PermissionError):  # of a user, who is not root already
    os.setresuid(65534, 65534, 65534)
found = draw([Process(other, os.getpid(), "other", "/", True)], 30, np.random.default_rng(0), PROC)
print([(p.pid == other, p.name, p.reason) for p in found.unreadable], found.processes, flush=True)
"""


def test_a_process_that_may_not_be_read() -> None:
    """It is not dumpable, so only root may read it, and the reader is not root: root's capabilities are dropped."""
    with subprocess.Popen([sys.executable, "-c", FOREIGN], stdout=subprocess.PIPE, text=True) as reader:  # noqa: S603
        assert reader.stdout
        said = reader.stdout.readline()
    assert said == "[(True, 'other', 'no permission')] 0\n"


def test_all_that_was_chosen_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, proc: Path) -> None:
        raise PermissionError(pid)

    add_process(tmp_path, 3, [Area([RESIDENT], np.ones((1, PAGE), np.uint8))])
    monkeypatch.setattr("swaplab.host.draw.open_memory", refuse)
    with pytest.raises(InputError, match=r"found 1 without, p\d+ \(\d+\) among them, which this user may not read"):
        run(tmp_path)
