"""Kernel modules: which ones the guest takes, in the order in which they load."""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import zstandard

from swaplab.errors import InputError
from swaplab.scenario.regular import read_regular

__all__ = ["find_modules", "load_order", "module_bytes"]

MODULE_BYTES_MAX = 1 << 26
DEPENDS = re.compile(rb"\0depends=([\w,-]*)\0")
MEMORY_MAX = 1 << 28  # that decompressing may take
GZIP = 16 + zlib.MAX_WBITS
NAME = re.compile(r"([\w-]+)\.ko(\.xz|\.zst|\.gz)?")


def find_modules(directory: Path) -> dict[str, Path]:
    """Return the modules anywhere below a directory, by the name that other modules know them by."""
    matches = ((path, NAME.fullmatch(path.name)) for path in sorted(directory.rglob("*.ko*")))
    return {_name(match[1]): path for path, match in matches if match}


def _name(name: str) -> str:
    return name.replace("-", "_")


def module_bytes(path: Path) -> bytes:
    """Read a module, decompressed.

    Raises:
        InputError: it is broken.
        OSError: it cannot be read.
    """
    data = read_regular(path, MODULE_BYTES_MAX)
    try:
        module = _unpacked(path.suffix, data)
    except (lzma.LZMAError, zstandard.ZstdError, zlib.error, EOFError) as error:
        raise InputError(path, "a kernel module", error) from None
    if len(module) > MODULE_BYTES_MAX:
        raise InputError(path, f"a kernel module of at most {MODULE_BYTES_MAX} bytes", "a larger one")
    return module


def _unpacked(suffix: str, data: bytes) -> bytes:
    """The contents of a module, decompressed up to one byte more than it may have."""
    most = MODULE_BYTES_MAX + 1
    if suffix == ".zst":
        with zstandard.ZstdDecompressor(max_window_size=MEMORY_MAX).stream_reader(data) as stream:
            return stream.read(most)
    if suffix not in (".xz", ".gz"):
        return data
    unpacker = lzma.LZMADecompressor(memlimit=MEMORY_MAX) if suffix == ".xz" else zlib.decompressobj(GZIP)
    module = unpacker.decompress(data, most)
    if not unpacker.eof and len(module) < most:
        raise EOFError("it ends early")
    return module


def load_order(wanted: Iterable[str], modules: Mapping[str, Path]) -> dict[str, bytes]:
    """Return those of the wanted modules that there are, each after what it depends on; others are built in."""
    loaded: dict[str, bytes] = {}
    for name in map(_name, wanted):
        _add(name, modules, loaded, ())
    return loaded


def _add(name: str, modules: Mapping[str, Path], loaded: dict[str, bytes], above: tuple[str, ...]) -> None:
    if name in loaded or name not in modules:
        return
    if name in above:
        raise InputError(modules[name], "modules that do not depend on each other", " on ".join((*above, name)))
    data = module_bytes(modules[name])
    depends = DEPENDS.search(data)
    for each in filter(None, depends[1].decode().split(",") if depends else []):
        _add(_name(each), modules, loaded, (*above, name))
    loaded[name] = data
