"""Which kernel is taken, and that it is fetched once, whole or not at all. Apt is a script here."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from swaplab.cache import cache_dir
from swaplab.errors import InputError, SwaplabError
from swaplab.vm.kernel import debian_kernel, newest_package, own_kernel

PACKAGE = "linux-image-6.12.111+deb12-amd64-unsigned"
LISTING = f"""\
linux-image-6.12.99+deb12-amd64-unsigned - Linux 6.12 for 64-bit PCs
{PACKAGE} - Linux 6.12 for 64-bit PCs
linux-image-6.12.117+deb12-cloud-amd64-unsigned - Linux 6.12 for x86-64 cloud
linux-image-6.12.117+deb12-rt-amd64-unsigned - Linux 6.12 for 64-bit PCs, PREEMPT_RT
"""


def test_the_newest_of_the_right_flavour() -> None:
    assert newest_package(LISTING) == PACKAGE


def test_no_package_is_said() -> None:
    with pytest.raises(SwaplabError, match="apt-get update"):
        newest_package("linux-image-6.1.0-9-amd64-unsigned - Linux 6.1\n")


def test_an_own_kernel_is_a_kernel(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(b"\x7fELF" + bytes(2000))
    with pytest.raises(InputError, match="arch/x86/boot/bzImage"):
        own_kernel(image, None)
    image.write_bytes(bytes(0x202) + b"HdrS" + bytes(2000))
    assert own_kernel(image, None) == (image, {})
    with pytest.raises(InputError, match="kernel modules"):
        own_kernel(image, tmp_path)
    (tmp_path / "a.ko").touch()
    assert own_kernel(image, tmp_path) == (image, {"a": tmp_path / "a.ko"})


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of commands: apt has one package, and counts how often it is fetched."""
    (tmp_path / "listing").write_text(LISTING)
    with tarfile.open(tmp_path / "package.tar", "w") as archive:
        modules = "lib/modules/6.12/kernel"
        for name in (
            "boot/vmlinuz-6.12",
            f"{modules}/crypto/lz4.ko.xz",
            f"{modules}/lib/../../../../../x.ko",
            f"{modules}/sound/a.ko",
            "x",
        ):
            member = tarfile.TarInfo(f"./{name}")
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    script(tmp_path / "apt-cache", f"cat {tmp_path}/listing")
    script(tmp_path / "apt-get", f'echo "$*" >>{tmp_path}/fetched; cp {tmp_path}/package.tar ./x.deb')
    script(tmp_path / "dpkg-deb", 'cat "$2"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_debians_kernel_is_fetched_once(apt: Path) -> None:
    for _ in range(2):
        kernel = debian_kernel()
        assert kernel.image == cache_dir() / PACKAGE / "boot/vmlinuz-6.12"
        assert list(kernel.modules) == ["lz4"]
    assert (apt / "fetched").read_text() == f"-q download {PACKAGE}\n"
    assert [path.name for path in cache_dir().iterdir()] == [PACKAGE]


def test_a_damaged_kernel_is_fetched_again(apt: Path) -> None:
    debian_kernel().image.write_bytes(b"abd")
    assert debian_kernel().image.read_bytes() == b"abc"
    assert (apt / "fetched").read_text().count("download") == 2


def test_a_kernel_that_another_run_fetched_meanwhile_is_taken(apt: Path) -> None:
    target = apt / f"cache/swaplab/{PACKAGE}"
    other = f"mkdir -p {target}/boot; cd {target}; echo kernel >boot/vmlinuz-other; sha256sum boot/* >SHA256SUMS"
    script(apt / "apt-get", f"cp {apt}/package.tar ./x.deb; {other}")
    assert debian_kernel().image.name == "vmlinuz-other"
    assert [path.name for path in cache_dir().iterdir()] == [PACKAGE]


@pytest.mark.parametrize(
    ("command", "text", "said"),
    [
        ("apt-get", "echo no network >&2; exit 100", "no network"),
        ("dpkg-deb", 'cat "$2"; exit 2', "dpkg-deb cannot unpack x.deb"),
    ],
)
def test_nothing_is_kept_of_a_kernel_that_cannot_be_fetched(command: str, text: str, said: str, apt: Path) -> None:
    script(apt / command, text)
    with pytest.raises(SwaplabError, match=said):
        debian_kernel()
    assert not list(cache_dir().iterdir())
