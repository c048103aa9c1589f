from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swaplab.cli import app
from swaplab.errors import InputError
from swaplab.linux.crypto import COMPRESSORS
from swaplab.scenario.profile import read_profile

SHELL = "exec 3<&0; cat <&3 & echo ready; wait"


def run(*arguments: str) -> None:
    app(["profile", *arguments], exit_on_error=False, result_action="return_value")


@pytest.fixture(scope="module")
def shell() -> Iterator[int]:
    """A shell with a child; its id."""
    with subprocess.Popen(["/bin/sh", "-c", SHELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.stdin.close()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], "none of them"),
        (["--children"], "--children"),
        (["--all", "--pid", "1"], "--pid --all"),
        (["--cgroup", "/", "--children"], "--cgroup --children"),
    ],
)
def test_exactly_one_choice(arguments: list[str], found: str) -> None:
    with pytest.raises(InputError, match=rf"--pid \$\$ --children, found {found}$"):
        run(*arguments)


def test_a_process_and_its_children(shell: int, capsys: pytest.CaptureFixture[str]) -> None:
    run("--pid", str(shell), "--json")
    alone = json.loads(capsys.readouterr().out)["total"]["processes"]
    run("--pid", str(shell), "--children", "--json")
    output = capsys.readouterr()
    found = json.loads(output.out)
    assert (alone, output.err) == (1, "")
    assert found["total"]["processes"] > alone
    assert found["total"]["sampled_pages"] > 10
    assert set(found["timing"]) == set(COMPRESSORS)


def test_the_output_is_private_and_says_so(shell: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pages.parquet"
    run("--pid", str(shell), "-o", str(path))
    output = capsys.readouterr()
    assert f"{path} holds raw memory" in output.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_profile(path, "test").pages) > 10
    assert all(word in output.out for word in ("All of it in zswap at once", "lzo-rle", "zero pages"))


def test_tables_fit_a_terminal(shell: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run("--pid", str(shell))
    output = capsys.readouterr().out
    assert max(map(len, output.splitlines())) <= 80
    assert "…" not in output


def test_the_command_line_as_a_user_has_it() -> None:
    command = [str(Path(sys.executable).with_name("swaplab")), "profile"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("swaplab: profile: expected one of --pid")
