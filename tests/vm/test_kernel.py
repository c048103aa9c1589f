"""Which kernel is taken where a command line names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.vm import Kernel
from swaplab.vm.kernel import find_kernels, own_kernel


def test_an_own_kernel_is_a_kernel(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    image.write_bytes(b"\x7fELF" + bytes(2000))
    with pytest.raises(InputError, match="arch/x86/boot/bzImage"):
        own_kernel(image, None)
    image.write_bytes(bytes(0x202) + b"HdrS" + bytes(2000))
    assert own_kernel(image, None) == Kernel(image, {})
    with pytest.raises(InputError, match="kernel modules"):
        own_kernel(image, tmp_path)
    (tmp_path / "a.ko").touch()
    assert own_kernel(image, tmp_path) == Kernel(image, {"a": tmp_path / "a.ko"})


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bzImage with modules beside it; Debian's kernels are named by what was asked for."""
    for name in ("7.2", "bzImage"):
        (tmp_path / name).write_bytes(bytes(0x202) + b"HdrS" + bytes(2000))
    (tmp_path / "a.ko").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swaplab.vm.kernel.debian_kernel", lambda version, _bars: Kernel(Path(f"debian {version}"), {}))
    return "bzImage"


def test_a_version_names_one_of_debians_and_anything_else_a_file(image: str) -> None:
    found = find_kernels(["7.2", image, "6.12.117", "./7.2"], [])
    assert [str(each.image) for each in found] == ["debian 7.2", image, "debian 6.12.117", "7.2"]
    assert [str(each.image) for each in find_kernels([], [])] == ["debian 6.12"]


def test_modules_belong_to_a_bzimage(image: str) -> None:
    debian, own = find_kernels(["7.2", image], [Path()])
    assert (debian.modules, own.modules) == ({}, {"a": Path("a.ko")})
    for named in (["7.2"], [], [image, "./7.2"]):
        with pytest.raises(InputError, match="--modules: expected the bzImage that they belong to, for each, found"):
            find_kernels(named, [Path()])
