"""What recording needs of the machine, and what is said when it is missing."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from swaplab.errors import SwaplabError
from swaplab.host.tool import find_tool, find_valgrind


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "swaplab"


def test_the_tool_is_built_once_and_again_when_it_is_damaged(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valgrind = find_valgrind()
    tool = find_tool(valgrind)
    good = tool.read_bytes()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", "")
        assert find_tool(valgrind) == tool
    assert list(cache.iterdir()) == [tool.parent]
    tool.write_bytes(good[:-1])
    assert find_tool(valgrind).read_bytes() == good


def test_without_a_compiler_the_package_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valgrind = find_valgrind()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SwaplabError, match="apt-get install gcc"):
        find_tool(valgrind)


def test_what_the_compiler_says_is_shown_and_another_valgrind_gets_another_tool(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    valgrind = find_valgrind()
    find_tool(valgrind)
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho no header here >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SwaplabError, match="no header here"):
        find_tool(valgrind._replace(version="3.99.0"))
    assert len(list(cache.iterdir())) == 1


def test_without_valgrind_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SwaplabError, match="apt-get install valgrind"):
        find_valgrind()


def test_half_of_valgrind_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swaplab.host.tool._DIRECTORIES", (str(tmp_path),))
    with pytest.raises(SwaplabError, match=r"pkgconfig/valgrind.pc is missing: apt-get install valgrind"):
        find_valgrind()
    (tmp_path / "pkgconfig").mkdir()
    shutil.copy("/usr/lib/x86_64-linux-gnu/pkgconfig/valgrind.pc", tmp_path / "pkgconfig")
    with pytest.raises(SwaplabError, match="static libraries"):
        find_valgrind()


def test_other_machines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(SwaplabError, match="this one is aarch64"):
        find_valgrind()
