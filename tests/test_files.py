"""Outputs are there whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from swaplab.files import write_whole, write_whole_directory

Whole = Callable[[Path], AbstractContextManager[Path]]


def test_a_file_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with write_whole(path, 0o600) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_new(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with write_whole_directory(path) as partial:
        (partial / "part").write_text("x")
        assert not path.exists()
    assert [each.name for each in path.iterdir()] == ["part"]
    with pytest.raises(FileExistsError, match="out exists already"), write_whole_directory(path):
        pytest.fail("the directory that is there would be mixed up with the new one")


@pytest.mark.parametrize("write", [write_whole, write_whole_directory])
def test_an_error_leaves_what_was_there(tmp_path: Path, write: Whole) -> None:
    (tmp_path / "other").write_text("x")
    with pytest.raises(RuntimeError, match="half way"), write(tmp_path / "out"):
        raise RuntimeError("half way")
    assert [each.name for each in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("write", [write_whole, write_whole_directory])
def test_a_missing_directory_is_named_as_the_user_did(tmp_path: Path, write: Whole) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"No such directory: '.*/nowhere'$"),
        write(tmp_path / "nowhere" / "out"),
    ):
        pytest.fail("there is nothing to write to")
