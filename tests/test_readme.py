"""What the documents show and tell to type is so."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from swaplab.cli import app
from swaplab.errors import InputError

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "scenarios").rglob("*.md"))]
CURVES = re.compile(r'<path aria-label[^>]* d="[^"]+"[^>]*>')
SHELL = re.compile(r"^```(?:sh|console)?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool, tutorials = load_tool("readme"), load_tool("tutorials")


def commands() -> Iterator[tuple[str, str]]:
    """Each command of ours that a document has in a shell's block, and that document's name."""
    for document in DOCUMENTS:
        for block in SHELL.findall(document.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                if (command := line.removeprefix("$ ")).startswith("swaplab "):
                    yield str(document.relative_to(ROOT)), re.split(r" [>|] ", command)[0]


def test_the_demo_prints_what_the_readme_shows() -> None:
    shown = tool.ending(tool.output(tool.DEMO), "The same accesses")
    assert tool.block("demo", shown) in README.read_text()


def test_the_picture_shows_what_the_demo_does() -> None:
    """By its curves: where axes stand depends on the fonts of a machine."""
    kept, drawn = (CURVES.findall(text) for text in ((ROOT / tool.PICTURE).read_text(), tool.picture()))
    assert kept == drawn
    assert len(kept) == len({*kept}) == 4
    assert all(f"var(--series-{number})" in kept[number] for number in range(4))


def test_the_readme_has_the_speed_that_the_benchmark_printed() -> None:
    shown = tool.speed((ROOT / tool.BENCHMARKS).read_text())
    assert tool.block("speed", shown, is_table=True) in README.read_text()
    assert re.search(r"swaplab replay \| [\d.]+ \| [\d.]+ \|", shown)


def test_the_doctor_says_what_the_readme_shows() -> None:
    assert tool.block("doctor", tool.first_finding(tool.output(tool.DOCTOR))) in README.read_text()


@pytest.mark.parametrize("path", tutorials.TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_shows_what_its_commands_print(path: Path) -> None:
    assert tutorials.played(path.read_text()) == path.read_text()


def test_only_what_is_between_the_marks_changes() -> None:
    before = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    after = tool.filled(before, "x", r"new \1")
    assert after == "a\n<!-- x -->\n```text\nnew \\1\n```\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n"
    assert tool.filled(after, "x", r"new \1") == after


@pytest.mark.parametrize("text", ["", "<!-- x -->", "<!-- x --><!-- /x --><!-- x --><!-- /x -->"])
def test_marks_are_there_once(text: str) -> None:
    with pytest.raises(InputError, match="once"):
        tool.filled(text, "x", "new")


@pytest.mark.parametrize(("document", "line"), list(commands()))
def test_commands_are_ones_that_swaplab_takes(document: str, line: str) -> None:
    """Raises whatever the command line would say; files need not be there."""
    tokens = shlex.split(line.replace("$$", "1"), comments=True)[1:]
    app.parse_args(tokens, exit_on_error=False, print_error=False)


def test_commands_are_found() -> None:
    found = {line.split()[1] for _, line in commands()}
    assert found >= {"run", "record", "profile", "calibrate", "trace"}
