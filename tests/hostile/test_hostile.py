"""Inputs that once did harm are refused, in one line that names them, within bounds of time and memory."""

from __future__ import annotations

import os
import signal
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from swaplab.cli import main
from swaplab.errors import InputError
from swaplab.scenario.cost import DEFAULT_COST
from swaplab.scenario.load import parse_scenario
from swaplab.vm.modules import module_bytes

HERE = Path(__file__).parent
SECONDS = 20  # of processor time
WAITING = 300  # seconds after which it waits for what never comes
MEMORY = 200 << 20
Shown = pytest.CaptureFixture[str]


def commands() -> Iterator[tuple[str, list[str]]]:
    """An input's name, and what reads it."""
    for path in sorted(HERE.glob("*/*.*")):
        name = f"{path.parent.name}/{path.name}"
        if path.parent.name in ("damo", "csv"):
            yield name, ["trace", "convert", "--format", path.parent.name, str(path), os.devnull]
        elif path.parent.name == "scenario":
            yield name, ["run", str(path)]
        elif path.parent.name == "doctor":
            yield name, ["doctor", str(path), "--scenario", os.devnull]
        elif path.parent.name == "cost":
            yield name, ["run", str(HERE / "good.toml"), "--cost", str(path)]
    csv = str(HERE / "two.csv")
    yield "two columns in one", ["trace", "convert", csv, "x", "--columns", "time-col=1,obj-id-col=1"]
    yield "a delimiter not of ASCII", ["trace", "convert", csv, "x", "--columns", "delimiter=é"]
    yield "a number of rows", ["trace", "head", csv, "-n", str(1 << 63)]
    yield "a setting that is no UTF-8", ["run", str(HERE / "two.csv"), "--set", os.fsdecode(b"name=\xff")]


@pytest.fixture(autouse=True)
def bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory to be in, where nothing may take long, or much memory, or leave anything."""

    def give_up(*_: object) -> None:
        pytest.fail(f"not done after {SECONDS} seconds of processor time, or {WAITING} of any")

    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    before = {number: signal.signal(number, give_up) for number in (signal.SIGALRM, signal.SIGPROF)}
    signal.alarm(WAITING)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    tracemalloc.start()
    yield empty
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    signal.alarm(0)
    signal.setitimer(signal.ITIMER_PROF, 0)
    for number, handler in before.items():
        signal.signal(number, handler)
    assert peak < MEMORY
    assert list(empty.iterdir()) == []


def refused(arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Shown) -> list[str]:
    """What a command says that refuses its input."""
    monkeypatch.setattr(sys, "argv", ["swaplab", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (1, 2)
    said = capsys.readouterr().err
    return [line for line in said.splitlines() if line.startswith("swaplab: ") and "compiling" not in line]


@pytest.mark.parametrize(
    ("name", "arguments"), list(commands()), ids=lambda each: each if isinstance(each, str) else ""
)
def test_it_is_refused_in_one_line(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    said = refused(arguments, monkeypatch, capsys)
    if name.endswith((".json", ".csv", ".toml", ".txt")):
        assert len(said) == 1
        assert name.partition("/")[2] in said[0]
    else:
        assert len(said) <= 1


@pytest.mark.parametrize(
    "name", ["x.toml", "linked.toml", "t.parquet", "cost.toml", "memory.bin", "d.txt", "race.py", "new"]
)
def test_an_output_is_no_input(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown) -> None:
    """It would be replaced: a scenario, under another of its names too, what that reads, the costs, another output."""
    contents = {
        "x.toml": '[[workload]]\ntrace = "t.parquet"\ncontent = { file = "memory.bin" }\n',
        "cost.toml": DEFAULT_COST.to_toml(),
        "d.txt": "MemTotal: 4G\nZswapped: 300M\nZswap: 100M\n",
        **dict.fromkeys(["t.parquet", "memory.bin", "race.py"], "x" * 4096),
    }
    for each, text in contents.items():
        (tmp_path / each).write_text(text)
    (tmp_path / "linked.toml").hardlink_to(tmp_path / "x.toml")
    monkeypatch.chdir(tmp_path)
    commands = {
        "d.txt": [["doctor", "d.txt", "--scenario", name]],
        "race.py": [["check", "race.py", "-o", name]],
        "new": [
            ["run", "x.toml", "-o", "./new", "--html", name],
            ["sweep", "x.toml", "--seeds", "2", "-o", name, "--html", name],
        ],
    }
    replays = [
        ["run", "x.toml", "--cost", "cost.toml", "-o", name],
        ["sweep", "x.toml", "--seeds", "2", "--cost", "cost.toml", "-o", name],
        ["tune", "x.toml", "--cost", "cost.toml", "--html", name],
    ]
    for command in commands.get(name, replays):
        (said,) = refused(command, monkeypatch, capsys)
        assert said == f"swaplab: {name}: expected another file than what is read or written beside it, found the same"
    assert (tmp_path / "x.toml").read_text() == contents["x.toml"]
    assert name not in contents or (tmp_path / name).read_text() == contents[name]


def test_a_message_has_the_beginning_of_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    (tmp_path / "wide.csv").write_text("," * 100_000)
    (said,) = refused(["trace", "convert", str(tmp_path / "wide.csv"), os.devnull], monkeypatch, capsys)
    assert "wide.csv" in said
    assert len(said) < 2000


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_report_of_lines_alone_is_refused_at_once(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    (tmp_path / "long.txt").write_text("Zswap: 1 kB" + end * (3 << 20), newline="")
    (said,) = refused(["doctor", str(tmp_path / "long.txt")], monkeypatch, capsys)
    assert "long.txt: expected at most 2097152 lines, found 3145728" in said


@pytest.mark.parametrize("path", sorted((HERE / "module").iterdir()), ids=lambda path: path.name)
def test_modules_are_refused(path: Path) -> None:
    with pytest.raises(InputError, match=path.name):
        module_bytes(path)


@pytest.mark.parametrize("option", ["scenario", "--cost", "--kernel", "trace", "convert", "/dev/zero"])
def test_pipes_and_devices_without_end_are_no_files(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "good").mkdir()
    good = tmp_path / "good/x.toml"
    good.write_text("[[workload]]\npages = 9\n")
    commands = {
        "scenario": ["run", str(pipe)],
        "--cost": ["run", str(good), "--cost", str(pipe)],
        "--kernel": ["run", str(good), "--on", "kernel", "--kernel", str(pipe)],
        "trace": ["trace", "info", str(pipe)],
        "convert": ["trace", "convert", str(pipe), str(tmp_path / "out")],
        "/dev/zero": ["run", "/dev/zero"],
    }
    (said,) = refused(commands[option], monkeypatch, capsys)
    assert ("/dev/zero" if option == "/dev/zero" else "pipe") in said


@pytest.mark.parametrize("arguments", [["run"], ["doctor"], ["trace", "info"]])
def test_a_file_that_cannot_be_read_is_named(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Shown
) -> None:
    (said,) = refused([*arguments, "/proc/self/mem"], monkeypatch, capsys)
    assert "/proc/self/mem" in said


def test_many_ratios_are_refused_before_they_are_made(tmp_path: Path) -> None:
    parts = ", ".join(f"{{ weight = 1, content = {{ ratio = {2 + i / 1000} }} }}" for i in range(255))
    text = "".join(f"[[workload]]\npages = 9\ncontent = {{ mix = [{parts}] }}\n" for _ in range(2))
    parse_scenario(text, "x.toml", tmp_path)
    with pytest.raises(InputError, match=r"x.toml: workload\[1\].content: expected at most 256 different ratios"):
        parse_scenario(text.replace("2.0", "3.0", 3), "x.toml", tmp_path)


def test_a_scenario_of_dotted_keys_is_read_quickly(tmp_path: Path) -> None:
    """A megabyte of the longest keys that there may be."""
    text = "".join(f"{'a.' * 11}a{i} = 1\n" for i in range(30_000))
    with pytest.raises(InputError, match=r"x\.toml"):
        parse_scenario(text[: 1 << 20], "x.toml", tmp_path)
