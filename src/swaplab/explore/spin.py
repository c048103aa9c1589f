"""In which loop a task is."""

from __future__ import annotations

import ast
import linecache
from types import FrameType

from swaplab.explore.guard import program_frames

__all__ = ["innermost_loop"]


def innermost_loop(frame: FrameType | None) -> str:
    """Return the line of the innermost loop of the program, or of the system, that is running; none if there is none.

    Args:
        frame: innermost, of a task.
    """
    for each in program_frames(frame):
        path = each.f_code.co_filename
        if line := _loop(each):
            return f"{path}, line {line}, in {each.f_code.co_name}: {linecache.getline(path, line).strip()}"
    return ""


def _loop(frame: FrameType) -> int:
    """Return the line at which the loop begins that a function is in; 0 if it is in none."""
    try:
        tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
    except SyntaxError:
        return 0
    found = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.For | ast.While)
        and frame.f_code.co_firstlineno <= node.lineno <= frame.f_lineno <= (node.end_lineno or 0)
    ]
    return max(found, default=0)
