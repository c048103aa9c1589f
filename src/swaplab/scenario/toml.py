"""TOML from anybody: parsed by Python, once it is sure to end soon."""

from __future__ import annotations

import re
import tomllib
from typing import Any

from swaplab.errors import InputError
from swaplab.text import shown

__all__ = ["DEPTH_MAX", "parse_toml", "quoted"]

DEPTH_MAX = 12  # tables and arrays inside each other
# The parser's memory grows with the square of a key's parts. A key starts where no other goes on.
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEPTH_MAX},}}")


def parse_toml(text: str, where: object) -> dict[str, Any]:
    """Parse TOML whose keys have at most `DEPTH_MAX` parts.

    Args:
        where: the file, for errors.

    Raises:
        InputError: not TOML, or a longer key.
    """
    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise InputError(f"{where}: line {line}", f"keys of at most {DEPTH_MAX} parts", f"{found[0][:40]}...")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not always TOMLDecodeError: Python has its own limit on digits
        raise InputError(where, "TOML", error) from None


def quoted(text: str) -> str:
    """Return text as a basic string of TOML, as people are shown it: a scenario has no control characters."""
    return '"' + shown(text).replace("\\", "\\\\").replace('"', '\\"') + '"'
