"""Outputs are there whole, or not at all; they go where the user said, and what killed runs left is swept."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from swaplab.files import (
    PREFIX,
    check_new_directory,
    check_writable,
    naming,
    scratch_directory,
    write_whole,
    write_whole_directory,
)
from swaplab.process import ENDING, Ended, end_on_signals

Whole = Callable[[Path], AbstractContextManager[Path]]
KINDS = ["unnamed", "named"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With files without a name, and on a file system that has none."""
    if request.param == "named":
        monkeypatch.setattr("swaplab.files._unnamed", lambda *_: None)
    return str(request.param)


@pytest.fixture(params=[0o022, 0o027, 0o077, 0])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(directory: Path) -> list[str]:
    return sorted(each.name for each in directory.iterdir())


# Whole or not at all --------------------------------------------------------------------------------------------------


def test_a_file_replaces_the_one_before(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old")
    with write_whole(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_a_file_has_no_name_until_it_is_whole(tmp_path: Path) -> None:
    with write_whole(tmp_path / "out") as partial:
        partial.write_text("new")
        assert names(tmp_path) == []


def test_a_directory_is_new(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with write_whole_directory(path) as partial:
        (partial / "part").write_text("x")
        assert not path.exists()
    assert names(path) == ["part"]
    with pytest.raises(FileExistsError, match="out exists already"), write_whole_directory(path):
        pytest.fail("the directory that is there would be mixed up with the new one")


@pytest.mark.parametrize("write", [write_whole, write_whole_directory])
def test_an_error_leaves_what_was_there(kind: str, tmp_path: Path, write: Whole) -> None:
    (tmp_path / "other").write_text("x")
    with pytest.raises(RuntimeError, match="half way"), write(tmp_path / "out"):
        raise RuntimeError("half way")
    assert names(tmp_path) == ["other"]


@pytest.mark.parametrize("write", [write_whole, write_whole_directory])
def test_a_missing_directory_is_named_as_the_user_did(tmp_path: Path, write: Whole) -> None:
    with (
        pytest.raises(FileNotFoundError, match=r"No such directory: '.*/nowhere'$"),
        write(tmp_path / "nowhere" / "out"),
    ):
        pytest.fail("there is nothing to write to")


def test_a_long_name_is_a_name(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    for text in ("old", "new"):
        with write_whole(path) as partial:
            partial.write_text(text)
    assert path.read_text() == "new"


def test_a_full_disk_names_the_users_file(kind: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '.*/out'$"), write_whole(tmp_path / "out"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_a_copy_into_a_hidden_directory_names_the_users(tmp_path: Path) -> None:
    hidden = tmp_path / f"{PREFIX}x/file"
    with pytest.raises(OSError, match=r"File too large: 'out'$"), naming(Path("out")):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), "/cache/file", None, str(hidden))


# Permissions ----------------------------------------------------------------------------------------------------------


def test_a_file_has_what_the_umask_leaves(kind: str, umask: int, tmp_path: Path) -> None:
    for name, wanted in (("open", 0o666), ("closed", 0o600)):
        with write_whole(tmp_path / name, wanted):
            pass
        assert mode(tmp_path / name) == wanted & ~umask


def test_a_directory_has_what_the_umask_leaves(umask: int, tmp_path: Path) -> None:
    with write_whole_directory(tmp_path / "out"):
        pass
    assert mode(tmp_path / "out") == 0o777 & ~umask


def test_a_file_that_others_could_not_read_stays_so(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.touch(0o600)
    with write_whole(path):
        pass
    assert mode(path) == 0o600
    path.chmod(0o644)
    with write_whole(path, 0o600):
        pass
    assert mode(path) == 0o600


# Where it goes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_written_through(kind: str, there: bool, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far/target"
    if there:
        target.write_text("old")
    (tmp_path / "link").symlink_to("far/next")
    (tmp_path / "far/next").symlink_to("target")
    with write_whole(tmp_path / "link") as partial:
        partial.write_text("new")
    assert target.read_text() == "new"
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "far") == ["next", "target"]


def test_a_link_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match=r"symbolic links: '.*/link'"):
        check_writable(tmp_path / "link")


def test_a_device_stays_a_device() -> None:
    with write_whole(Path(os.devnull)) as partial:
        partial.write_text("gone")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_pipe_gets_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(path.read_bytes()))
    reader.start()
    with write_whole(path) as partial:
        partial.write_bytes(b"x" * 100_000)
    reader.join()
    assert heard == [b"x" * 100_000]
    assert stat.S_ISFIFO(path.stat().st_mode)


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"])
def test_standard_output_is_written_where_it_stands(name: str, tmp_path: Path) -> None:
    """A file behind it is the shell's, and goes on being so."""
    program = (
        "import sys; from pathlib import Path; from swaplab.files import write_whole\n"
        "print('before')\n"
        f"with write_whole(Path({name!r})) as partial: partial.write_text('output\\n')\n"
        "print('after')"
    )
    with (tmp_path / "file").open("w") as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)  # noqa: S603
    assert (tmp_path / "file").read_text() == "before\noutput\nafter\n"


def test_a_directory_and_a_socket_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        check_writable(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="Is a socket"):
            check_writable(tmp_path / "socket")


@pytest.mark.parametrize("write", [check_writable, check_new_directory])
def test_where_no_file_can_be_made_that_is_found_before_the_work(write: Callable[[Path], None], kind: str) -> None:
    """To root, the permissions of /proc say that it may."""
    with pytest.raises(OSError, match="No files can be made there: '/proc/out'"):
        write(Path("/proc/out"))


def test_to_ask_leaves_nothing(kind: str, tmp_path: Path) -> None:
    check_writable(tmp_path / "out")
    assert names(tmp_path) == []


def test_permissions_are_asked_for_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so that the question itself is answered here."""
    (tmp_path / "out").touch()
    refused = {tmp_path / "out": os.W_OK, tmp_path: os.W_OK | os.X_OK}
    for path, permission in refused.items():
        monkeypatch.setattr(os, "access", lambda each, asked, p=path, m=permission: (each, asked) != (p, m))
        with pytest.raises(PermissionError, match=r"Permission denied: '.*/out'$"):
            check_writable(tmp_path / "out")


# What is left ---------------------------------------------------------------------------------------------------------

LEAVE = """
import os, sys
from pathlib import Path
from typing import Any
from swaplab import files
if {named}: files._unnamed = lambda *_: None
with files.{how}(Path(sys.argv[1])) as partial:
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["write_whole", "write_whole_directory", "scratch_directory"])
def test_what_a_killed_run_leaves_is_swept_by_the_next(how: str, tmp_path: Path) -> None:
    program = LEAVE.format(named=how == "write_whole", how=how)
    where = tmp_path if how == "scratch_directory" else tmp_path / "out"
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program, str(where)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        (left,) = names(tmp_path)
        assert left.startswith(PREFIX)
        with scratch_directory(tmp_path):
            assert left in names(tmp_path), "while it is used it is not swept"
        killed.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [left]
    with scratch_directory(tmp_path):
        assert left not in names(tmp_path)
    assert names(tmp_path) == []


def test_what_others_left_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "keep").touch()
    (tmp_path / f"{PREFIX}link").symlink_to("keep")
    with scratch_directory(tmp_path):
        pass
    assert names(tmp_path) == [f"{PREFIX}link", "keep"]


@pytest.mark.parametrize("when", ["tempfile.mkdtemp", "shutil.rmtree"])
def test_a_signal_waits_until_a_scratch_directory_is_made_or_gone(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = when.split(".")
    done = getattr(sys.modules[module], name)

    def interrupted(*arguments: Any, **keys: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return done(*arguments, **keys)

    monkeypatch.setattr(f"swaplab.files.{when}", interrupted)
    before = [(number, signal.getsignal(number)) for number in ENDING]
    hooks = sys.unraisablehook, threading.excepthook
    end_on_signals()
    try:
        with pytest.raises(Ended, match="SIGTERM"), scratch_directory(tmp_path) as directory:
            (directory / "file").touch()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        sys.unraisablehook, threading.excepthook = hooks
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_swept_before_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tempfile.mkdtemp

    def swept_at_first(**arguments: Any) -> str:
        made.append(make(**arguments))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept_at_first)
    with scratch_directory(tmp_path) as directory:
        assert str(directory) == made[1]
