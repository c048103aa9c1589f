"""Modules are found, unpacked and put in order by what they say of themselves."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from swaplab.errors import InputError
from swaplab.vm.modules import find_modules, load_order, module_bytes


def module(*depends: str) -> bytes:
    return b"\x7fELF..\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=x\0"


def write(directory: Path, **modules: bytes) -> dict[str, Path]:
    (directory / "kernel/lib").mkdir(parents=True, exist_ok=True)
    for name, data in modules.items():
        (directory / "kernel/lib" / f"{name}.ko").write_bytes(data)
    return find_modules(directory)


def test_what_a_module_depends_on_comes_first(tmp_path: Path) -> None:
    found = write(tmp_path, lz4=module("lz4_compress", "lz4hc"), lz4_compress=module(), lz4hc=module("lz4_compress"))
    assert list(load_order(["lz4"], found)) == ["lz4_compress", "lz4hc", "lz4"]


def test_what_is_not_there_is_built_in(tmp_path: Path) -> None:
    found = write(tmp_path, virtio_blk=module("virtio", "virtio_ring"))
    assert list(load_order(["virtio_pci", "virtio_blk"], found)) == ["virtio_blk"]


def test_a_dash_is_an_underscore(tmp_path: Path) -> None:
    found = write(tmp_path, **{"lzo-rle": module("crypto-x"), "crypto_x": module()})
    assert list(load_order(["lzo-rle"], found)) == ["crypto_x", "lzo_rle"]


def test_a_circle_is_refused(tmp_path: Path) -> None:
    found = write(tmp_path, a=module("b"), b=module("a"))
    with pytest.raises(InputError, match="a on b on a"):
        load_order(["a"], found)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        ("", bytes),
        (".xz", lzma.compress),
        (".zst", zstandard.ZstdCompressor(write_content_size=False).compress),
        (".gz", gzip.compress),
    ],
)
def test_compressed_modules(suffix: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / f"a.ko{suffix}"
    path.write_bytes(compress(module("b")))
    assert find_modules(tmp_path) == {"a": path}
    assert module_bytes(path) == module("b")


@pytest.mark.parametrize("suffix", [".xz", ".zst", ".gz"])
def test_a_broken_module_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.ko{suffix}"
    path.write_bytes(b"not compressed")
    with pytest.raises(InputError, match=r"a\.ko"):
        module_bytes(path)
