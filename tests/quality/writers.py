"""Every command that writes: how it is run, and what whole outputs are."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow.parquet as pq

from swaplab.cache import DIGEST_SIZE, cache_dir
from swaplab.fidelity.truth import read_truth
from swaplab.races.schedules import load
from swaplab.result import Result
from swaplab.scenario.profile import read_profile
from swaplab.scenario.trace import Trace
from swaplab.vm import debian_kernel
from swaplab.vm.debian import Package

__all__ = ["MARK", "WRITERS", "Writer", "clear", "left", "prepare", "started"]

ROOT = Path(__file__).parents[2]
STUDIED = ROOT / "tests/warm_up.toml"
SWEEP = ["sweep", str(STUDIED)]
MAIN = "from swaplab.__main__ import main; main()"
MARK = "SWAPLAB_TESTED"
GUEST = """
[machine]
memory = "64M"
[zswap]
enabled = true
[swap]
size = "16M"
[cgroup.a]
memory.max = "1M"
[[workload]]
cgroup = "a"
pages = 400
accesses = 2000
"""
SELFTESTS = "linux/tools/testing/selftests/cgroup"
REPLAY = ("compiled", "lengths")
KERNEL = ("compiled", "lengths", "kernels.json", "linux-image-*", "runner-*")
SELFTEST = ("kernels.json", "linux-image-*", "busybox-static")
# Stands for the kernel's test: one case, whose lines are in the way of none.
CASE = '#include <stdio.h>\nint main(void) { return puts("ok 1 test_zswap_usage") < 0; }\n'
PACKAGE = "linux-image-6.12.1-amd64-unsigned"
CONTROL = f"Package: {PACKAGE}\nVersion: 6.12.1-1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
# Stands for apt-get: a mirror whose suites have one package, with 8 MB of a kernel, made in no time.
APT = f"""#!/bin/sh
case "$*" in
*--print-uris*) echo "'file:/mirror/dists/stable/InRelease' InRelease 0" ;;
*update*) (cat {{tree}}/DEBIAN/control; echo "Size: 1") >lists/x_Packages ;;
*) dpkg-deb --build -Znone {{tree}} {PACKAGE}.deb >/dev/null ;;
esac
"""


class Writer(NamedTuple):
    """A command that writes.

    Attributes:
        arguments: of swaplab, run in the directory that was prepared.
        output: that it makes.
        check: raises where that is not whole.
        share: of all tries that it gets, since it takes long.
        keeps: what of the user's cache is in its own, if it is given one because it writes there.
    """

    arguments: list[str]
    output: str
    check: Callable[[Path], object]
    share: float = 1.0
    keeps: tuple[str, ...] = ()


def _trace(path: Path) -> int:
    return sum(len(chunk.page) for chunk in Trace.open(path).chunks())


def _has_kernel(path: Path) -> bytes:
    return b"".join((package / "SHA256SUMS").read_bytes() for package in path.glob("linux-image-*"))


def _has_studies(path: Path) -> int:
    return len([_kept(each) for each in path.glob("study/*")])


def _kept(path: Path) -> bytes:
    """What a file of the cache holds behind its checksum."""
    data = path.read_bytes()
    if hashlib.sha256(data[DIGEST_SIZE:]).digest() != data[:DIGEST_SIZE]:
        raise ValueError(f"damaged: {path.name}")
    return data[DIGEST_SIZE:]


def _has_packages(path: Path) -> int:
    return len(msgspec.json.decode(_kept(path), type=list[Package]))


def _has_program(path: Path) -> int:
    return len([_kept(each) for each in path.glob("test_zswap-*")])


WRITERS = {
    "trace convert": Writer(["trace", "convert", "in.csv", "out/t.parquet", "--window", "16"], "out/t.parquet", _trace),
    "run -o": Writer(["run", str(STUDIED), "-o", "out/r.parquet"], "out/r.parquet", Result.read),
    "sweep": Writer(
        [*SWEEP, "--vary", "zswap.compressor=lz4,zstd", "--seeds", "3", "-j", "2", "-o", "out/w.parquet"],
        "out/w.parquet",
        pq.read_table,
        keeps=REPLAY,
    ),
    "tune": Writer(["tune", str(STUDIED), "-j", "2"], "cache/swaplab", _has_studies, keeps=REPLAY),
    "run --on kernel": Writer(
        ["run", "guest.toml", "--on", "kernel", "-o", "out/k.parquet"], "out/k.parquet", Result.read, 0.4
    ),
    "fetching a kernel": Writer(
        ["run", "guest.toml", "--on", "kernel", "--dry-run"], "cache/swaplab", _has_kernel, keeps=("compiled",)
    ),
    "vm kernels --update": Writer(
        ["vm", "kernels", "--update"], "cache/swaplab/kernels.json", _has_packages, keeps=("compiled",)
    ),
    "vm selftest": Writer(["vm", "selftest", "--source", "linux"], "cache/swaplab", _has_program, 0.4, SELFTEST),
    "fidelity --record": Writer(
        ["fidelity", "suite", "--record", "--repeat", "1"],
        "suite/truth/6.12/guest.json",
        read_truth,
        0.2,
        KERNEL,
    ),
    "calibrate": Writer(
        ["calibrate", "-o", "out/c.toml", "--device", "out"], "out/c.toml", lambda path: tomllib.loads(path.read_text())
    ),
    "check": Writer(
        ["check", "xarray-cleared-before-drain", "idr-duplicate-id", "-j", "2", "-o", "out/s.json"], "out/s.json", load
    ),
    "profile": Writer(
        ["profile", "--pid", str(os.getpid()), "-o", "out/p.parquet"],
        "out/p.parquet",
        lambda path: read_profile(path, path),
    ),
    "doctor": Writer(
        ["doctor", "--scenario", "out/d.toml"], "out/d.toml", lambda path: tomllib.loads(path.read_text())
    ),
    "record": Writer(
        ["record", "-o", "out/rec", "--", "sh", "-c", "sleep 0.2 & seq 30000 | sort | tail -1; wait"],
        "out/rec",
        lambda path: _trace(path / "trace.parquet"),
    ),
}


def prepare(name: str, directory: Path) -> None:
    """Put what a writer reads into a directory, and make what it writes to."""
    for each in ("out", "tmp", "suite/truth/6.12", "bin", "tree/boot", "tree/DEBIAN", SELFTESTS):
        (directory / each).mkdir(parents=True)
    rows = itertools.chain(["time,page"], (f"{i},{i * i % 9973}" for i in range(400_000)))
    (directory / "in.csv").write_text("\n".join(rows) + "\n")
    for each in ("guest.toml", "suite/guest.toml"):
        (directory / each).write_text(GUEST)
    (directory / SELFTESTS / "test_zswap.c").write_text(CASE)
    (directory / SELFTESTS / "cgroup_util.c").touch()
    if name in ("fetching a kernel", "vm kernels --update"):
        _make_apt(directory)
    if WRITERS[name].keeps in (KERNEL, SELFTEST):
        debian_kernel()
    clear(name, directory)


def _make_apt(directory: Path) -> None:
    tree = directory / "tree"
    (tree / "boot/vmlinuz-6.12.1").write_bytes(bytes(0x202) + b"HdrS" + bytes(8 << 20))
    (tree / "DEBIAN/control").write_text(CONTROL)
    script = directory / "bin/apt-get"
    script.write_text(APT.format(tree=tree))
    script.chmod(0o755)


def clear(name: str, directory: Path) -> None:
    """Remove what a writer has made."""
    writer = WRITERS[name]
    output = directory / writer.output
    if output.is_dir():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)
    if writer.keeps:
        shutil.rmtree(directory / "cache/swaplab", ignore_errors=True)
        (directory / "cache/swaplab").mkdir(0o700, parents=True)
        for kept in itertools.chain(*map(cache_dir().glob, writer.keeps)):
            (directory / "cache/swaplab" / kept.name).symlink_to(kept)


def started(
    name: str, directory: Path, mark: str, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a writer, in a group of its own; it and all that it starts have `mark` in their environments."""
    own = {MARK: mark, "TMPDIR": str(directory / "tmp"), "PATH": f"{directory / 'bin'}:{os.environ['PATH']}"}
    if WRITERS[name].keeps:
        own["XDG_CACHE_HOME"] = str(directory / "cache")
    return subprocess.Popen(  # noqa: S603 - own code
        [sys.executable, "-c", MAIN, *WRITERS[name].arguments],
        cwd=directory,
        env=os.environ | own | (environment or {}),
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def left(name: str, directory: Path) -> list[str]:
    """What is there that is neither whole nor was there before."""
    output = directory / WRITERS[name].output
    found = [str(path) for path in (directory / "tmp").iterdir()]
    found += [str(path) for path in directory.glob("**/.swaplab-*") if path.parent != directory / "tmp"]
    found += [str(path) for path in output.parent.iterdir() if path != output and "cache" not in path.parts]
    if output.exists():
        try:
            WRITERS[name].check(output)
        except Exception as error:
            found.append(f"{output}: {error!r}")
    return sorted({*found})
