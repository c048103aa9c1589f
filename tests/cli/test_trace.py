"""The trace commands, through the entry point that users run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from swaplab.cli import main


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A trace converted from text: pages 7, 9, 7 of which the last is written."""
    (tmp_path / "in.csv").write_text("time,page,write\n1,7,r\n2,9,r\n3,7,w\n")
    run(monkeypatch, "trace", "convert", str(tmp_path / "in.csv"), str(tmp_path / "t.parquet"))
    capsys.readouterr()
    return tmp_path / "t.parquet"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["swaplab", *arguments])
    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    return 0


def output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(monkeypatch, *arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


Tools = tuple[pytest.MonkeyPatch, pytest.CaptureFixture[str]]


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tools:
    return monkeypatch, capsys


def test_info_for_machines(trace: Path, tools: Tools) -> None:
    found: dict[str, Any] = json.loads(output(*tools, "trace", "info", str(trace), "--json"))
    assert (found["accesses"], found["writes"], found["hot_pages"]) == (3, 1, 2)
    assert found["bytes"] == trace.stat().st_size
    assert found["streams"] == [{"name": "requests", "pages": 2, "touched": 2, "accesses": 3, "writes": 1}]
    assert found["working_set"] == [1, 1, 1]
    assert found["metadata"]["source"] == "csv in.csv"
    assert found["metadata"]["streams"][0]["ranges"] == [[7, 1], [9, 1]]


def test_info_for_people(trace: Path, tools: Tools) -> None:
    text = output(*tools, "trace", "info", str(trace))
    for fact in ("requests", "3, 33% writes", "2 pages, 8.00K", "csv in.csv"):
        assert fact in text


def test_names_are_not_markup(trace: Path, tools: Tools) -> None:
    named = trace.parent / "[bold]in.csv"
    named.write_text("stream,page\n[red]a,1\n")
    output(*tools, "trace", "convert", str(named), str(trace))
    assert "csv [bold]in.csv" in output(*tools, "trace", "info", str(trace))
    assert "[red]a" in output(*tools, "trace", "head", str(trace))


def test_head(trace: Path, tools: Tools) -> None:
    lines = output(*tools, "trace", "head", str(trace), "-n", "2", "--json").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"stream": "requests", "page": 0, "write": False, "time": 10**9},
        {"stream": "requests", "page": 1, "write": False, "time": 2 * 10**9},
    ]
    text = output(*tools, "trace", "head", str(trace))
    assert text.count("read") == 2
    assert text.count("write") == 1


def test_convert_with_options(trace: Path, tools: Tools) -> None:
    arguments = (
        "--format",
        "csv",
        "--columns",
        "time-col=1,obj-id-col=page",
        "--window",
        "4",
        "--limit",
        "2",
        "--json",
    )
    text = output(*tools, "trace", "convert", str(trace.parent / "in.csv"), str(trace), *arguments)
    assert json.loads(text)["accesses"] == 2
    assert json.loads(text)["window"] == 4


def test_convert_says_what_it_made(trace: Path, tools: Tools) -> None:
    text = output(*tools, "trace", "convert", str(trace.parent / "in.csv"), str(trace))
    assert "3 accesses to 2 pages" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("info", "in.csv"), "in.csv: expected a trace in Parquet"),
        (("info", "none.parquet"), "none.parquet"),
        (("head", "in.csv"), "in.csv: expected a trace in Parquet"),
        (("convert", "t.parquet", "u.parquet"), "expected a trace of another tool"),
        (("convert", "in.csv", "u.parquet", "--format", "damo"), "in.csv: character 0: expected '['"),
        (("convert", "in.csv", "none/u.parquet"), "none"),
    ],
)
def test_bad_input(trace: Path, tools: Tools, arguments: tuple[str, ...], message: str) -> None:
    monkeypatch, capsys = tools
    monkeypatch.chdir(trace.parent)
    assert run(monkeypatch, "trace", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("swaplab: ")
    assert message in captured.err
    assert sorted(path.name for path in trace.parent.iterdir()) == ["in.csv", "t.parquet"]


@pytest.mark.parametrize("command", ["info", "head", "convert"])
def test_help_has_an_example(tools: Tools, command: str) -> None:
    assert f"swaplab trace {command} " in output(*tools, "trace", command, "--help").partition("Example")[2]


def test_commands_that_do_not_run_are_not_imported() -> None:
    code = "import sys, swaplab.cli; sys.exit('numba' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603 (own code)


def test_head_of_no_row_is_empty_and_of_fewer_refused(trace: Path, tools: Tools) -> None:
    assert output(*tools, "trace", "head", str(trace), "-n", "0", "--json") == ""
    assert run(tools[0], "trace", "head", str(trace), "-n", "-1") != 0


def test_a_directory_that_is_missing_is_named(trace: Path, tools: Tools) -> None:
    csv = trace.with_name("in.csv")
    assert run(tools[0], "trace", "convert", str(csv), str(csv.parent / "nowhere" / "t.parquet")) == 2
    assert "OUT: expected a file that can be written" in tools[1].readouterr().err


def test_an_output_to_standard_output_has_it_to_itself(trace: Path) -> None:
    command = [
        sys.executable,
        "-c",
        "from swaplab.cli import main; main()",
        "trace",
        "convert",
        str(trace.with_name("in.csv")),
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 (own code)
    assert done.stdout == trace.read_bytes()
    assert b"-: 3 accesses to 2 pages\n" in done.stderr


def test_an_output_to_a_device_leaves_it_one(trace: Path, tools: Tools) -> None:
    said = output(*tools, "trace", "convert", str(trace.with_name("in.csv")), "/dev/null")
    assert said == "/dev/null: 3 accesses to 2 pages\n"
    assert not Path("/dev/null").is_file()
