"""Make the recordings again: `python record.py` in this directory (Debian 12: valgrind, gcc, sqlite3, python3)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from swaplab.host.record import record

COMMANDS = {
    "database": ["/usr/bin/sqlite3", "-batch", "-init", "database.sql", ":memory:", ".quit"],
    "index": ["/usr/bin/python3", "-I", "-S", "-c", "exec(open('index.py').read())"],
}
# A recording holds memory, and memory holds the environment: give the programs none of ours.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONHASHSEED": "0"}


def main() -> None:
    """Replace the recordings beside this file."""
    os.chdir(Path(__file__).parent)
    for name, command in COMMANDS.items():
        shutil.rmtree(name, ignore_errors=True)
        made = record(command, Path(name), window=1024, sample_pages=256, environment=ENVIRONMENT)
        print(f"{name}: {made.pages} pages, {made.recorded} accesses")  # noqa: T201


if __name__ == "__main__":
    main()
