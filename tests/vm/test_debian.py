"""Which kernels Debian has, and that only what is signed is fetched: apt is real, its archive is made here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from swaplab.cache import cache_dir, write_cached
from swaplab.cli import main
from swaplab.errors import SwaplabError
from swaplab.vm import debian_kernel
from swaplab.vm.apt import SECURITY_SUITES, SUITES, Apt, Progress, Source, sources
from swaplab.vm.debian import UNPACKED_KEY, Package, kept_kernels, known_kernels, listing, update_kernels, version_key

APT = shutil.which("apt-get")
MODULES = "lib/modules/{}/kernel/{}.ko.xz"


class Archive:
    """An archive of Debian's shape with a mirror's URI, signed by a key of its own."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "mirror"
        self.uri = f"file:{self.root}"
        self.keyring = directory / "keyring.gpg"
        self._keys = directory / "keys"
        self._keys.mkdir(mode=0o700)
        self._gpg("--passphrase", "", "--quick-gen-key", "a test", "ed25519", "sign", "never")
        self.keyring.write_bytes(self._gpg("--export"))
        self._work = directory

    def _gpg(self, *arguments: str, given: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--quiet", *arguments]
        environment = os.environ | {"GNUPGHOME": str(self._keys)}
        done = subprocess.run(command, input=given, env=environment, capture_output=True, check=True)  # noqa: S603
        return done.stdout

    def end(self) -> None:
        """End the process that keeps the keys."""
        subprocess.run(["gpgconf", "--homedir", self._keys, "--kill", "all"], check=True)  # noqa: S603, S607

    def package(self, suite: str, name: str, version: str, depends: str = "kmod", files: Sequence[str] = ()) -> None:
        """Add a package; each of its files holds its own path."""
        root = self._work / name
        (root / "DEBIAN").mkdir(parents=True)
        lines = [f"Package: {name}", f"Version: {version}", "Architecture: amd64", f"Depends: {depends}"]
        lines += ["Maintainer: nobody", "Description: a test"]
        control = "\n".join(lines) + "\n"
        (root / "DEBIAN/control").write_text(control)
        for path in files:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(path)
        built = self.root / "pool" / f"{name}_{version}.deb"
        built.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["dpkg-deb", "-Znone", "--build", root, built], capture_output=True, check=True)  # noqa: S603, S607
        data = built.read_bytes()
        control += f"Filename: pool/{built.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        listed = self.root / "dists" / suite / "main/binary-amd64/Packages"
        listed.parent.mkdir(parents=True, exist_ok=True)
        with listed.open("a") as file:
            file.write(control)

    def image(self, suite: str, name: str, version: str) -> None:
        release = name.removeprefix("linux-image-").removesuffix("-unsigned")
        files = [MODULES.format(release, each) for each in ("crypto/lz4", "sound/a")]
        self.package(suite, name, version, files=[f"boot/vmlinuz-{release}", *files])

    def split(self, suite: str, release: str, version: str) -> None:
        """Add a kernel in three packages, as from 6.19 on, but the one with its modules."""
        parts = f"linux-binary-{release} (= {version}), linux-modules-{release} (= {version})"
        self.package(suite, f"linux-image-{release}", version, f"linux-base, {parts}")
        self.package(suite, f"linux-binary-{release}", version, files=[f"usr/lib/modules/{release}/vmlinuz"])

    def sign(self, suite: str, until: str = "") -> None:
        listed = self.root / "dists" / suite / "main/binary-amd64/Packages"
        data = listed.read_bytes()
        release = (
            f"Origin: Debian\nSuite: {suite}\nCodename: {suite}\nDate: Thu, 01 Jan 2026 00:00:00 UTC\n{until}"
            f"Architectures: amd64\nComponents: main\nSHA256:\n"
            f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages\n"
        )
        (self.root / "dists" / suite / "InRelease").write_bytes(self._gpg("--clearsign", given=release.encode()))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    made = Archive(tmp_path_factory.mktemp("archive"))
    made.image("stable", "linux-image-6.1.0-9-amd64", "6.1.20-1")
    for name in ("6.12.9+deb13-amd64", "6.12.10+deb13-amd64", "6.12.10+deb13-amd64-unsigned"):
        made.image("stable", f"linux-image-{name}", f"{name.partition('+')[0]}-1")
    for flavour in ("cloud", "rt"):
        made.image("stable", f"linux-image-6.12.11+deb13-{flavour}-amd64", "6.12.11-1")
    made.package("stable", "linux-image-6.12-amd64", "6.12.11-1", "linux-image-6.12.11+deb13-amd64 (= 6.12.11-1)")
    made.split("unstable", "7.2.3+deb14-amd64", "7.2.3-1")
    modules = MODULES.format("7.2.3+deb14-amd64", "crypto/lz4")
    made.package("unstable", "linux-modules-7.2.3+deb14-amd64", "7.2.3-1", files=[f"usr/{modules}"])
    made.split("unstable", "7.2.4+deb14-amd64", "7.2.4-1")
    for suite in ("stable", "unstable"):
        made.sign(suite)
    made.image("over", "linux-image-5.10.0-9-amd64", "5.10.1-1")
    made.sign("over", "Valid-Until: Fri, 02 Jan 2026 00:00:00 UTC\n")
    made.end()
    return made


@pytest.fixture
def mirror(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """The archive as what the machine's apt knows, with an empty cache."""
    (tmp_path / "sources.list").write_text(f"deb {archive.uri} stable main\n")
    (tmp_path / "apt.conf").write_text(f'Dir::Etc {{ sourcelist "{tmp_path}/sources.list"; sourceparts "-"; }};\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("swaplab.vm.apt.KEYRINGS", (archive.keyring,))
    monkeypatch.setattr("swaplab.vm.apt.SUITES", ("stable", "unstable", "experimental"))
    return archive


def quiet(_done: int, _total: int) -> None:
    pass


# What there is -------------------------------------------------------------------------------------------------------


def test_suites_are_those_of_the_machine_and_others_on_its_mirrors(
    mirror: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    lines = ["http://a/debian/ trixie", "http://a/debian trixie-updates", "http://b/sec trixie-security"]
    (tmp_path / "sources.list").write_text("".join(f"deb {each} main\n" for each in lines))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    found = sources()
    on = {uri: [source.suite for source in found if source.uri == uri] for uri in ("http://a/debian", "http://b/sec")}
    assert on["http://a/debian"] == ["trixie", "trixie-updates", *SUITES]
    assert on["http://b/sec"] == ["trixie-security", *SECURITY_SUITES]


def test_kernels_that_are_whole_and_have_zswap_are_listed(mirror: Archive) -> None:
    found = update_kernels(quiet)
    assert [each.name.removeprefix("linux-image-") for each in found] == [
        "6.1.0-9-amd64",
        "6.12.9+deb13-amd64",
        "6.12.10+deb13-amd64",
        "6.12.10+deb13-amd64-unsigned",
        "7.2.3+deb14-amd64",
    ]
    assert found == known_kernels()
    assert [path.name for path in cache_dir().iterdir()] == ["kernels.json"]


def test_a_suite_under_two_names_is_fetched_once(mirror: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Apt] = []
    update = Apt.update

    def updated(own: Apt) -> bool:
        asked.append(own)
        return update(own)

    monkeypatch.setattr(Apt, "update", updated)
    monkeypatch.setattr(Apt, "release", lambda _own: "unstable")
    update_kernels(quiet)
    assert len(asked) == 2  # stable, which says that it is unstable, and experimental


def test_versions_are_in_debians_order() -> None:
    # As dpkg --compare-versions has it.
    ordered = [
        "6.1.9-1",
        "6.1.20-1",
        "6.1.20-2~bpo1+1",
        "6.1.20-2",
        "6.1.20-2+b1",
        "6.1.20-10",
        "6.12-1~exp1",
        "6.12-1",
    ]
    ordered += ["6.12.9-1~deb12u1", "6.12.9-1", "6.12.9+x-1", "6.12.9.1-1", "7.3~rc7-1~exp1", "7.3~rc10-1", "7.3-1"]
    packages = [Package("a", version, Source("", ""), (), 0) for version in ordered]
    assert max(packages, key=version_key) == packages[-1]
    assert sorted({*packages}, key=version_key) == packages


@pytest.mark.parametrize(
    ("version", "series", "linux", "named"),
    [
        ("6.12.117-1~deb12u1", "6.12", "6.12.117", ["6.12", "6.12.117"]),
        ("7.3~rc7-1~exp1", "7.3", "7.3~rc7", ["7.3"]),
        ("6.1.20-1", "6.1", "6.1.20", ["6.1", "6.1.20"]),
    ],
)
def test_versions_of_linux(version: str, series: str, linux: str, named: list[str]) -> None:
    package = Package("a", version, Source("", ""), (), 0)
    assert (package.series, package.linux) == (series, linux)
    asked = ["6.1", "6.12", "7.3", "6.1.2", "6.1.20", "6.12.1", "6.12.117"]
    assert [each for each in asked if package.has_version(each)] == named


def test_the_listing_has_the_newest_of_each_series_and_what_is_kept() -> None:
    versions = ("6.1.1-1", "6.1.2-1", "6.1.3-1", "7.2-1")
    a, b, c, d = (Package("a", version, Source("", "s"), (), 5) for version in versions)
    listed = [(each.series, each.version, each.cached) for each in listing([a, b, c, d], [a, d])]
    assert listed == [("6.1", "6.1.1", True), ("6.1", "6.1.3", False), ("7.2", "7.2", True)]
    assert [each.version for each in listing([], [b])] == ["6.1.2"]


# Only what is signed -------------------------------------------------------------------------------------------------


@pytest.fixture
def changed(mirror: Archive, tmp_path: Path) -> Path:
    """A mirror that the archive's owner did not make; yet it is what apt knows."""
    copy = tmp_path / "mirror"
    shutil.copytree(mirror.root, copy)
    (tmp_path / "sources.list").write_text(f"deb file:{copy} stable main\n")
    return copy


def test_a_list_that_is_not_what_was_signed_is_refused(changed: Path) -> None:
    listed = changed / "dists/stable/main/binary-amd64/Packages"
    listed.write_text(listed.read_text().replace("6.12.10", "6.12.99"))
    with pytest.raises(SwaplabError, match="apt-get update failed"):
        update_kernels(quiet)


def test_a_suite_that_debian_did_not_sign_is_none(changed: Path) -> None:
    signed = changed / "dists/stable/InRelease"
    signed.write_text(signed.read_text().replace("Thu, 01", "Fri, 02"))
    assert {each.series for each in update_kernels(quiet)} == {"7.2"}
    (changed / "dists/unstable/InRelease").unlink()
    with pytest.raises(SwaplabError, match="no mirror of Debian"):
        update_kernels(quiet)


def test_a_suite_that_is_kept_up_no_more_is_none(
    mirror: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "apt.conf").open("a") as settings:
        settings.write('Dir::Etc::Parts "/dev/null";\n')  # a machine may have been told not to look at the date
    monkeypatch.setattr("swaplab.vm.apt.SUITES", ("over", "stable"))
    assert {each.series for each in update_kernels(quiet)} == {"6.1", "6.12"}


def test_a_package_that_is_not_what_was_listed_is_refused(changed: Path) -> None:
    package = changed / "pool/linux-image-6.1.0-9-amd64_6.1.20-1.deb"
    package.write_bytes(package.read_bytes().replace(b"lz4", b"lzo"))
    with pytest.raises(SwaplabError, match=r"apt-get download linux-image-6.1.0-9-amd64=6.1.20-1 failed"):
        debian_kernel("6.1")
    assert [path.name for path in cache_dir().iterdir()] == ["kernels.json"]


def test_without_debians_keys_nothing_is_fetched(mirror: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swaplab.vm.apt.KEYRINGS", (mirror.root / "none",))
    with pytest.raises(SwaplabError, match="apt-get install debian-archive-keyring"):
        update_kernels(quiet)


# Fetched once, whole or not at all -----------------------------------------------------------------------------------


def test_the_newest_of_a_series_is_fetched_once(mirror: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = debian_kernel()
    name = "linux-image-6.12.10+deb13-amd64-unsigned"
    assert kernel.image == cache_dir() / f"{name}_6.12.10-1_{UNPACKED_KEY}/boot/vmlinuz-6.12.10+deb13-amd64"
    assert list(kernel.modules) == ["lz4"]
    monkeypatch.setattr("swaplab.vm.debian.apt", None)
    assert debian_kernel() == kernel
    assert [each.name for each in kept_kernels()] == [name]


def test_one_in_two_packages(mirror: Archive) -> None:
    kernel = debian_kernel("7.2")
    assert kernel.image.read_text() == "usr/lib/modules/7.2.3+deb14-amd64/vmlinuz"
    assert list(kernel.modules) == ["lz4"]


def test_a_version_can_be_named(mirror: Archive) -> None:
    assert debian_kernel("6.12.9").image.name == "vmlinuz-6.12.9+deb13-amd64"


def test_a_damaged_one_is_fetched_again(mirror: Archive) -> None:
    image = debian_kernel("6.1").image
    whole = image.read_bytes()
    image.write_bytes(b"x")
    assert debian_kernel("6.1").image.read_bytes() == whole


def test_without_a_network_what_is_kept_can_be_had(
    mirror: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = debian_kernel("6.12.9")
    monkeypatch.setattr("swaplab.vm.debian.apt", None)
    assert debian_kernel("6.12.9") == kernel
    (cache_dir() / "kernels.json").unlink()
    assert debian_kernel("6.12") == kernel


def test_one_that_is_gone_from_the_mirror(mirror: Archive, tmp_path: Path) -> None:
    debian_kernel("6.12.9")
    gone = [msgspec.structs.replace(each, source=Source(f"file:{tmp_path}/none", "stable")) for each in known_kernels()]
    write_cached("kernels.json", msgspec.json.encode(gone))
    said = "`swaplab vm kernels --update` looks what there is now, and --kernel has 6.12.9 here"
    with pytest.raises(SwaplabError, match=said):
        debian_kernel("6.12")


def test_a_series_that_there_is_not(mirror: Archive) -> None:
    with pytest.raises(SwaplabError, match=r"no kernel 5.10 .* which have 6.1, 6.12, 7.2; --kernel takes"):
        debian_kernel("5.10")


def test_nothing_is_kept_of_a_package_that_cannot_be_unpacked(
    mirror: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dpkg-deb").write_text('#!/bin/sh\n/usr/bin/dpkg-deb "$@"\nexit 2\n')
    (tmp_path / "dpkg-deb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SwaplabError, match=r"dpkg-deb cannot unpack linux-image-6.1.0-9-amd64_6.1.20-1_amd64.deb"):
        debian_kernel("6.1")
    assert [path.name for path in cache_dir().iterdir()] == ["kernels.json"]


@pytest.fixture
def slow(mirror: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with the process of an apt-get that has begun to fetch a package, and does not get on."""
    begun = tmp_path / "begun"
    script = tmp_path / "bin/apt-get"
    script.parent.mkdir()
    hangs = f"echo $$ >{begun}; echo dlstatus:1:50.0:x; exec sleep 60"
    script.write_text(f'#!/bin/sh\ncase "$*" in *download*) {hangs};; esac\nexec {APT} "$@"\n')
    script.chmod(0o755)
    update_kernels(quiet)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    return begun


def test_an_interrupted_fetch_leaves_nothing(slow: Path) -> None:
    def interrupted(what: str) -> Progress:
        def told(done: int, total: int) -> None:
            assert (what, done, total) == ("fetching Linux 6.1.20", 50, 100)
            raise KeyboardInterrupt

        return told

    with pytest.raises(KeyboardInterrupt):
        debian_kernel("6.1", interrupted)
    assert not Path(f"/proc/{slow.read_text().strip()}").exists()
    assert [path.name for path in cache_dir().iterdir()] == ["kernels.json"]


def test_a_killed_fetch_leaves_what_the_next_one_sweeps(slow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = os.fork()
    if not child:
        debian_kernel("6.1")
    wait_for(lambda: slow.exists() and slow.read_text().endswith("\n"))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.waitpid(int(slow.read_text()), 0)  # the session adopted apt, which has ended with its parent
    monkeypatch.setenv("PATH", os.environ["PATH"].partition(":")[2])
    debian_kernel("6.1")
    names = sorted(path.name for path in cache_dir().iterdir())
    assert names == ["kernels.json", f"linux-image-6.1.0-9-amd64_6.1.20-1_{UNPACKED_KEY}"]


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# The command ---------------------------------------------------------------------------------------------------------


def run(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["swaplab", "vm", "kernels", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


def test_the_command_lists_them(mirror: Archive, capsys: pytest.CaptureFixture[str]) -> None:
    debian_kernel("6.1")
    assert run("--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(each["version"], each["suite"], each["cached"]) for each in listed] == [
        ("6.1.20", "stable", True),
        ("6.12.10", "stable", False),
        ("7.2.3", "unstable", False),
    ]
    assert run() == 0
    table = capsys.readouterr().out
    assert "series" in table
    assert "6.12.10" in table


def test_the_command_without_a_network(
    mirror: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    debian_kernel("6.1")
    (tmp_path / "sources.list").write_text("")
    assert run("--update") == 2
    assert "no mirror of Debian" in capsys.readouterr().err
    (cache_dir() / "kernels.json").unlink()
    assert run("--json") == 0
    shown = capsys.readouterr()
    assert [each["version"] for each in json.loads(shown.out)] == ["6.1.20"]
    assert "these are here" in shown.err
