"""Kernel modules: which ones the guest takes, in the order in which they load."""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import zstandard

from swaplab.errors import InputError

__all__ = ["find_modules", "load_order", "module_bytes"]

MODULE_BYTES_MAX = 1 << 26
DEPENDS = re.compile(rb"\0depends=([\w,-]*)\0")
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
    data = path.read_bytes()
    try:
        match path.suffix:
            case ".xz":
                return lzma.decompress(data)
            case ".zst":
                return zstandard.ZstdDecompressor().decompress(data, max_output_size=MODULE_BYTES_MAX)
            case ".gz":
                return gzip.decompress(data)
    except (lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile, EOFError) as error:
        raise InputError(path, "a kernel module", error) from None
    return data


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
