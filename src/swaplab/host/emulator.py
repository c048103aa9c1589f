"""The emulator that recorded programs run in, and the plugin that makes it a recorder."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
from importlib import resources
from pathlib import Path
from typing import Final

from swaplab.cache import cached_directory
from swaplab.errors import SwaplabError
from swaplab.process import run

__all__ = ["command_prefix", "find_emulator", "find_plugin"]

PLUGIN: Final = "recorder.so"
_FLAGS: Final = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden")


def find_emulator() -> Path:
    """Find QEMU's user-mode emulator.

    Raises:
        SwaplabError: it is not installed, or this machine is not one whose programs it runs.
    """
    if (machine := platform.machine()) != "x86_64":
        raise SwaplabError(f"recording needs an x86_64 machine, this one is {machine}")
    found = shutil.which("qemu-x86_64")
    if found is None:
        raise SwaplabError("recording needs qemu-x86_64: apt-get install qemu-user")
    return Path(found)


def find_plugin(emulator: Path) -> Path:
    """Return the plugin for `emulator`, compiled once and kept in the cache directory.

    Raises:
        SwaplabError: there is no C compiler, or it fails.
        OSError: the cache directory is not writable or full.
    """
    version = _version(emulator)
    sources = sorted((resources.files("swaplab.host") / "plugin").iterdir(), key=lambda file: file.name)
    key = hashlib.sha256("\0".join([version, *_FLAGS, *(file.read_text() for file in sources)]).encode())
    interface = 2 if int(version.split(".")[0]) >= 9 else 1

    def fill(kept: Path) -> None:
        with resources.as_file(resources.files("swaplab.host") / "plugin") as directory:
            _compile(directory, kept / PLUGIN, interface)

    return cached_directory(f"recorder-{key.hexdigest()[:16]}", fill) / PLUGIN


def command_prefix(emulator: Path, plugin: Path, **options: object) -> list[str]:
    """Build the start of a command line; the name and the path of a program and its arguments follow.

    ``plugin/exec.c`` counts on this order.
    """
    pairs = [f"{name}={value}" for name, value in options.items()]
    option = ",".join(text.replace(",", ",,") for text in [str(plugin), *pairs])
    return [str(emulator), "-plugin", option, "-0"]


def _version(emulator: Path) -> str:
    shown = run([str(emulator), "--version"]).stdout
    match = re.search(r"version (\d+\.\d+\.\d+)", shown)
    if match is None:
        raise SwaplabError(f"{emulator} --version does not say which version it is")
    return match[1]


def _compile(directory: Path, plugin: Path, interface: int) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise SwaplabError("recording needs a C compiler, once: apt-get install gcc libc6-dev")
    sources = sorted(str(file) for file in directory.glob("*.c"))
    command = [compiler, *_FLAGS, f"-DPLUGIN_API={interface}", "-o", str(plugin), *sources]
    result = run(command, plugin.parent)
    if result.returncode:
        raise SwaplabError(f"the recorder's plugin does not compile: {result.stderr.strip()[-2000:]}")
