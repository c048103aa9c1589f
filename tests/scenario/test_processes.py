"""The traces of processes that ship are those that their maker makes."""

from __future__ import annotations

import runpy
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "scenarios" / "processes"


def test_they_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    maker = tmp_path / "make.py"
    maker.write_bytes((SHIPPED / "make.py").read_bytes())
    runpy.run_path(str(maker), run_name="__main__")
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    assert made == {path.name: path.read_bytes() for path in SHIPPED.glob("*.parquet")}
    assert len(made) == 4
