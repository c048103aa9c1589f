"""Put what the commands of the tutorials, and of pages that are made like them, print now below them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from swaplab.cli import app
from swaplab.cli.common import conclude
from swaplab.files import write_whole

__all__ = ["TUTORIALS", "played"]

ROOT = Path(__file__).parents[1]
TUTORIALS = [
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
    *sorted((ROOT / "docs/questions").glob("*.md")),
    ROOT / "docs/upgrade.md",
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
SAVED = re.compile(r"(?:Save\s+(?:this|it)\s+as|this\s+as|Add\s+this\s+to)\s+`([\w.]+)`:\s*$")


def played(text: str) -> str:
    """Return a tutorial with what its commands print, run one after the other in a directory of their own."""
    with TemporaryDirectory() as directory:
        return "".join(_pieces(text, Path(directory)))


def _pieces(text: str, directory: Path) -> Iterator[str]:
    at = 0
    for block in FENCE.finditer(text):
        before, kind, content = text[at : block.start()], block[1], block[2]
        yield before
        if kind == "console":
            command = content.splitlines()[0]
            content = f"{command}\n{_output(command.removeprefix('$ '), directory)}"
        elif saved := SAVED.search(before):
            with (directory / saved[1]).open("a") as file:
                file.write(content)
        yield f"```{kind}\n{content}```\n"
        at = block.end()
    yield text[at:]


def _output(command: str, directory: Path) -> str:
    """What a command prints, or the last lines of it, with no blanks at their ends."""
    typed, _, last = command.partition(" | tail -n ")
    program, *arguments = shlex.split(typed)
    environment = {"PYTHONPATH": _path(), "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    with chdir(directory), patch.dict(os.environ, environment):
        if program == "swaplab" and arguments[0] != "check":
            status, printed = _here(arguments)
        else:
            status, printed = _started(["-m", "swaplab"] * (program == "swaplab") + arguments)
    if status not in (0, 1):
        raise SystemExit(f"{command}: status {status}")
    lines = printed.rstrip().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines[-int(last or len(lines)) :])


def _here(arguments: list[str]) -> tuple[int, str]:
    """Run a command of swaplab in this process, which has imported already what it takes."""
    with redirect_stdout(StringIO()) as printed:
        status = conclude(lambda: app(arguments))
    return status, printed.getvalue()


def _started(arguments: list[str]) -> tuple[int, str]:
    """Run a Python program, or swaplab where it starts itself anew: to check, it orders what Python hashes."""
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603
    return done.returncode, done.stdout


def _path() -> str:
    """Where Python finds this checkout."""
    return os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))


if __name__ == "__main__":
    for path in TUTORIALS:
        text = played(path.read_text())
        with write_whole(path) as partial:
            partial.write_text(text)
