from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from swaplab.cli import app
from swaplab.errors import InputError

SCENARIO = """
[zswap]
enabled = true
[cgroup."app"]
memory.max = "256K"
[[workload]]
cgroup = "app"
pages = 100
accesses = 2000
"""


def run(*arguments: str) -> None:
    app(["sweep", *arguments], exit_on_error=False, result_action="return_value")


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return path


def test_a_table(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.parquet"
    run(str(scenario), "--vary", "cgroup.app.memory.max=192K..320K/64K", "--seeds", "2", "-j", "1", "-o", str(out))
    shown = capsys.readouterr().out
    assert "medians of 2 seeds" in shown
    assert [line.split()[0] for line in shown.splitlines()[4:7]] == ["192K", "256K", "320K"]
    assert pq.read_table(out).num_rows == 3 * 2 * 2


def test_json(scenario: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(str(scenario), "--vary", "zswap.compressor=lz4,zstd", "--json", "-j", "1")
    found = json.loads(capsys.readouterr().out)
    assert [each["settings"]["zswap.compressor"] for each in found] == ["lz4", "zstd"]
    assert found[0]["least"] == found[0]["median"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "something to vary"),
        (["--vary", "zswap.pool=1,2"], "expected only the keys enabled"),
        (["--vary", "zswap.compressor=lz4,zstd", "-o", "/dev"], "-o"),
    ],
)
def test_what_is_refused(scenario: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(str(scenario), *arguments)


def test_what_another_process_refuses_is_said_as_if_it_were_this_one(scenario: Path, tmp_path: Path) -> None:
    scenario.write_text(SCENARIO.replace("pages = 100\n", 'trace = "none"\n'))
    (tmp_path / "none").write_bytes(b"PAR1nothing")
    with pytest.raises(InputError, match=r"none: byte 11: expected the end of a Parquet file, found a truncated one"):
        run(str(scenario), "--seeds", "2", "-j", "2")
