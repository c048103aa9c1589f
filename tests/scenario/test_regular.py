"""Files that are none: a message says what they are."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.scenario.regular import found_instead, open_regular, read_regular


def test_what_is_no_regular_file_is_called_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        kinds = {"pipe": "a named pipe", "socket": "a socket", ".": "a directory", "/dev/zero": "a device"}
        for name, kind in kinds.items():
            assert found_instead(Path(name)) == kind
            with pytest.raises(InputError, match=f"s.toml: expected a regular file, found {name}, which is {kind}"):
                open_regular(Path(name), "s.toml")


def test_what_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert found_instead(tmp_path / "none") == "no such file"
    assert found_instead(tmp_path / "file/inside") == "Not a directory"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none", "s.toml")


def test_a_file_is_read_whole_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert not found_instead(tmp_path / "file")
    assert read_regular(tmp_path / "file", 4) == b"1234"
    with pytest.raises(InputError, match="expected a file of at most 3 bytes, found a larger one"):
        read_regular(tmp_path / "file", 3)
