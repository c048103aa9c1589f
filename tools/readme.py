"""Put what swaplab prints now into README.md, between its marks: the demo and, with --bench, the benchmark.

The benchmark takes minutes, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from swaplab.errors import InputError
from swaplab.files import write_whole

__all__ = ["DEMO", "block", "filled", "output"]

ROOT = Path(__file__).parents[1]
DEMO = ("-c", "from swaplab.cli import main; main()", "run", "scenarios/demo.toml", "--compare")
BENCH = ("benchmarks/replay.py",)


def output(arguments: tuple[str, ...]) -> str:
    """Return what Python prints for `arguments` in the repository, 80 columns wide and without blanks at line ends."""
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(  # noqa: S603
        [sys.executable, *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def block(name: str, text: str) -> str:
    """`text` as it stands in README.md, its marks included."""
    return f"<!-- {name} -->\n```text\n{text}\n```\n<!-- /{name} -->"


def filled(readme: str, name: str, text: str) -> str:
    """README.md with `text` between the marks of `name`.

    Raises:
        InputError: the marks are not there once.
    """
    marks = re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    parts = marks.split(readme)
    if len(parts) != 2:
        raise InputError("README.md", f"<!-- {name} --> and <!-- /{name} --> once", f"{len(parts) - 1} times")
    return block(name, text).join(parts)


def main() -> None:
    """Run what is to be shown, then write README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", action="store_true", help="run the benchmark as well")
    shown = {"demo": DEMO} | ({"bench": BENCH} if parser.parse_args().bench else {})
    path = ROOT / "README.md"
    readme = path.read_text()
    for name, arguments in shown.items():
        readme = filled(readme, name, output(arguments))
    with write_whole(path) as partial:
        partial.write_text(readme)


if __name__ == "__main__":
    main()
