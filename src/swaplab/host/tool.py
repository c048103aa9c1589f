"""The tool for valgrind that records: built from `valgrind/pages.c` with what Debian's package installs."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final, NamedTuple

from swaplab.cache import cached_directory
from swaplab.errors import SwaplabError
from swaplab.process import run

__all__ = ["TOOL", "Valgrind", "find_tool", "find_valgrind"]

TOOL: Final = "pages-amd64-linux"
_PACKAGE: Final = "apt-get install valgrind"
_DIRECTORIES: Final = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
_CORES: Final = ("/usr/libexec/valgrind", "/usr/lib/x86_64-linux-gnu/valgrind", "/usr/lib/valgrind")
_WRAPPED: Final = (
    *("vgPlain_di_notify_mmap", "vgPlain_check_executable", "vgPlain_find_executable"),
    *("vgPlain_getenv", "vgPlain_env_setenv"),
)
_COMPILE: Final = (
    *("-O2", "-std=gnu11", "-fno-pie", "-fno-stack-protector", "-fno-strict-aliasing", "-fno-builtin"),
    *("-fomit-frame-pointer", "-fcf-protection=none"),
    *("-DVGA_amd64=1", "-DVGO_linux=1", "-DVGP_amd64_linux=1", "-DVGPV_amd64_linux_vanilla=1"),
)
_LINK: Final = (
    *("-static", "-no-pie", "-nodefaultlibs", "-nostartfiles", "-u", "_start"),
    *("-Wl,--build-id=none", "-Wl,-z,noexecstack", *(f"-Wl,--wrap={name}" for name in _WRAPPED)),
)


class Valgrind(NamedTuple):
    """An installed valgrind.

    Attributes:
        launcher: the program that starts a tool; ``valgrind`` itself is a script that changes the environment.
        include: where its headers are.
        libraries: where its static libraries are.
        core: where its own tools are.
        load_address: of a tool, for the linker.
        version: such as "3.19.0".
    """

    launcher: Path
    include: Path
    libraries: Path
    core: Path
    load_address: str
    version: str


def find_valgrind() -> Valgrind:
    """Find valgrind and what it takes to build a tool for it.

    Raises:
        SwaplabError: it is not installed, or this machine is not one whose programs it can record.
    """
    if (machine := platform.machine()) != "x86_64":
        raise SwaplabError(f"recording needs an x86_64 machine, this one is {machine}")
    launcher = shutil.which("valgrind.bin") or shutil.which("valgrind")
    if launcher is None:
        raise SwaplabError(f"recording needs valgrind: {_PACKAGE}")
    directory = _first(_DIRECTORIES, "pkgconfig/valgrind.pc")
    variables = _variables((directory / "pkgconfig/valgrind.pc").read_text())
    libraries = directory / "valgrind"
    if not (libraries / "libcoregrind-amd64-linux.a").is_file():
        raise SwaplabError(f"recording needs valgrind's static libraries, and {libraries} has none: {_PACKAGE}")
    return Valgrind(
        Path(launcher),
        Path(variables["includedir"]),
        libraries,
        _first(_CORES, "none-amd64-linux"),
        variables["valt_load_address"],
        variables["Version"],
    )


def find_tool(valgrind: Valgrind) -> Path:
    """Return the tool for an installed valgrind, built once and kept in the cache directory.

    Raises:
        SwaplabError: there is no C compiler, or it fails.
        OSError: the cache directory is not writable or full.
    """
    source = resources.files("swaplab.host") / "valgrind" / "pages.c"
    library = valgrind.libraries / "libcoregrind-amd64-linux.a"
    status = library.stat()
    parts = [*_COMPILE, *_LINK, *map(str, valgrind), source.read_text(), f"{status.st_size} {status.st_mtime_ns}"]
    key = hashlib.sha256("\0".join(parts).encode())

    def fill(kept: Path) -> None:
        with resources.as_file(source) as file:
            _build(file, kept / TOOL, valgrind)

    return cached_directory(f"recorder-{key.hexdigest()[:16]}", fill) / TOOL


def _first(directories: tuple[str, ...], name: str) -> Path:
    for directory in map(Path, directories):
        if (directory / name).is_file():
            return directory
    raise SwaplabError(f"recording needs all of Debian's package valgrind, of which {name} is missing: {_PACKAGE}")


def _variables(text: str) -> dict[str, str]:
    """Variables and fields of a file of pkg-config's, those in each other put in."""
    found: dict[str, str] = {}
    for name, value in re.findall(r"^(\w+) *[=:] *(.*)$", text, re.MULTILINE):
        found[name] = re.sub(r"\$\{(\w+)\}", lambda match: found.get(match[1], ""), value.strip())
    return found


def _build(source: Path, tool: Path, valgrind: Valgrind) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SwaplabError("recording needs a C compiler, once: apt-get install gcc libc6-dev")
    for command in _commands(compiler, source, tool, valgrind):
        result = run(command, directory=tool.parent)
        if result.returncode:
            raise SwaplabError(f"the recorder's tool does not compile: {result.stderr.strip()[-2000:]}")
    tool.with_suffix(".o").unlink()


def _commands(compiler: str, source: Path, tool: Path, valgrind: Valgrind) -> Iterator[list[str]]:
    compiled = str(tool.with_suffix(".o"))
    core = f'-DCORE="{valgrind.core}"'
    yield [compiler, *_COMPILE, core, "-I", str(valgrind.include), "-c", "-o", compiled, str(source)]
    libraries = [str(valgrind.libraries / f"lib{name}-amd64-linux.a") for name in ("coregrind", "vex")]
    address = f"-Wl,-Ttext-segment={valgrind.load_address}"
    yield [compiler, *_LINK, address, "-o", str(tool), compiled, *libraries, "-lgcc"]
