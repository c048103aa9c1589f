"""What recording needs of the machine, and what is said when it is missing."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from swaplab.errors import SwaplabError
from swaplab.host.emulator import command_prefix, find_emulator, find_plugin


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "swaplab"


def test_the_plugin_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = find_emulator()
    plugin = find_plugin(emulator)
    monkeypatch.setenv("PATH", "")
    assert find_plugin(emulator) == plugin
    assert list(cache.iterdir()) == [plugin.parent]


def test_a_damaged_plugin_is_compiled_again(cache: Path) -> None:
    emulator = find_emulator()
    plugin = find_plugin(emulator)
    good = plugin.read_bytes()
    plugin.write_bytes(good[:-1])
    assert find_plugin(emulator).read_bytes() == good


def test_another_emulator_gets_another_plugin(cache: Path, tmp_path: Path) -> None:
    newer = tmp_path / "qemu"
    newer.write_text("#!/bin/sh\necho qemu-x86_64 version 9.2.0\n")
    newer.chmod(0o755)
    assert find_plugin(newer) != find_plugin(find_emulator())


def test_an_emulator_without_a_version_is_an_error(cache: Path) -> None:
    with pytest.raises(SwaplabError, match="does not say which version"):
        find_plugin(Path("/bin/true"))


def test_without_a_compiler_the_package_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = find_emulator()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SwaplabError, match="apt-get install gcc"):
        find_plugin(emulator)


def test_what_the_compiler_says_is_shown(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = find_emulator()
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho no header here >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SwaplabError, match="no header here"):
        find_plugin(emulator)
    assert not list(cache.iterdir())


def test_without_an_emulator_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SwaplabError, match="apt-get install qemu-user"):
        find_emulator()


def test_other_machines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(SwaplabError, match="this one is aarch64"):
        find_emulator()


def test_commas_of_paths_are_doubled() -> None:
    prefix = command_prefix(Path("/qemu"), Path("/a,b.so"), dir="/c,d", window=4)
    assert prefix == ["/qemu", "-plugin", "/a,,b.so,dir=/c,,d,window=4", "-0"]
