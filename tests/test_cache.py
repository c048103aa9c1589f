"""What is kept is this user's alone, and whole; what is not is made anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swaplab import cache as module
from swaplab.cache import cache_dir, cached_bytes, cached_directory
from swaplab.errors import InputError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/swaplab"


def test_it_is_made_for_its_owner_alone(cache: Path) -> None:
    assert cache_dir() == cache
    assert cache.stat().st_mode & 0o777 == 0o700


def test_one_that_others_can_see_is_closed(cache: Path) -> None:
    cache.mkdir(0o755, parents=True)
    assert cache_dir().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_one_that_others_can_write_is_refused(mode: int, cache: Path) -> None:
    cache.mkdir(parents=True)
    cache.chmod(mode)
    with pytest.raises(InputError, match=r"cache/swaplab: expected .*that nobody else can write"):
        cache_dir()
    assert cache.stat().st_mode & 0o7777 == mode


def test_one_of_somebody_else_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(0o700, parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    with pytest.raises(InputError, match="that you own"):
        cache_dir()


def test_without_one_there_is_a_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module._temporary.cache_clear()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    directory = cache_dir()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert cached_bytes("x", lambda: b"made") == b"made"
    assert cached_bytes("x", lambda: b"again") == b"made"
    assert cache_dir() == directory
    assert capsys.readouterr().err.count("\n") == 1


def test_a_home_that_nobody_knows_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "")
    monkeypatch.chdir(tmp_path)
    assert cache_dir().is_dir()


@pytest.mark.parametrize("damage", [b"", b"short", bytes(100)])
def test_damaged_bytes_are_made_anew(damage: bytes, cache: Path) -> None:
    assert cached_bytes("a/x", lambda: b"good") == b"good"
    (cache / "a/x").write_bytes(damage)
    assert cached_bytes("a/x", lambda: b"new") == b"new"
    assert cached_bytes("a/x", lambda: b"newer") == b"new"


def test_a_directory_in_the_place_of_bytes_is_replaced(cache: Path) -> None:
    (cache / "x/y").mkdir(parents=True)
    cache.chmod(0o700)
    assert cached_bytes("x", lambda: b"good") == b"good"
    assert cached_bytes("x", lambda: b"other") == b"good"


def fill(directory: Path) -> None:
    (directory / "boot").mkdir()
    (directory / "boot/vmlinuz").write_text("kernel")


def changed(path: Path) -> None:
    path.write_text("kernal")


def removed(path: Path) -> None:
    path.unlink()


def added(path: Path) -> None:
    path.with_name("more").write_text("x")


@pytest.mark.parametrize("damage", [changed, removed, added])
def test_a_damaged_directory_is_made_anew(damage: object, cache: Path) -> None:
    assert callable(damage)
    damage(cached_directory("kernel", fill) / "boot/vmlinuz")
    directory = cached_directory("kernel", fill)
    assert (directory / "boot/vmlinuz").read_text() == "kernel"
    assert [path.name for path in (directory / "boot").iterdir()] == ["vmlinuz"]


def test_a_whole_directory_is_taken_as_it_is(cache: Path) -> None:
    cached_directory("kernel", fill)
    cached_directory("kernel", lambda _: pytest.fail("it is there"))


def test_a_directory_that_another_run_made_meanwhile_is_taken(cache: Path) -> None:
    def slowly(directory: Path) -> None:
        (directory / "ours").touch()
        cached_directory("kernel", fill)

    assert (cached_directory("kernel", slowly) / "boot/vmlinuz").exists()
    assert [path.name for path in cache.iterdir()] == ["kernel"]
