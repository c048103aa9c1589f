"""Put what the commands of the tutorials, and of pages that are made like them, print now below them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from swaplab.files import write_whole

__all__ = ["TUTORIALS", "played"]

ROOT = Path(__file__).parents[1]
TUTORIALS = [*sorted((ROOT / "docs/tutorials").glob("*.md")), ROOT / "docs/upgrade.md"]
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
    """What a command prints; `swaplab` and `python` are this checkout's."""
    program, *arguments = shlex.split(command)
    module = ["-m", "swaplab"] if program == "swaplab" else []
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
    whole = [sys.executable, *module, *arguments]
    done = subprocess.run(whole, cwd=directory, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command}: status {done.returncode}\n{done.stderr}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.rstrip().splitlines())


if __name__ == "__main__":
    for path in TUTORIALS:
        text = played(path.read_text())
        with write_whole(path) as partial:
            partial.write_text(text)
