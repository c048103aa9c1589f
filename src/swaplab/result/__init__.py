"""The result of a run on any engine: counters, and what was run."""

from __future__ import annotations

from swaplab.result.result import SCHEMA, Result, Row
from swaplab.result.run import Guest, RunInfo

__all__ = ["SCHEMA", "Guest", "Result", "Row", "RunInfo"]
