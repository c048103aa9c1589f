r"""Names as people and other programs are shown them: with nothing in them that a terminal would obey.

Names of files, processes and cgroups are bytes. Inside they are text in which a byte that is no UTF-8 stands as a
surrogate, as Python has it (PEP 383); here it becomes ``\xff``, and so does every character that is not printable.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["FALLBACK", "from_json", "shown", "shown_lines", "text_of", "to_json"]

# What JSON leaves as it is and a terminal may obey: DEL, the controls of Latin-1, and those that turn text around.
_OBEYED = re.compile("[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
_BYTE = range(0xDC80, 0xDD00)
TEXT_MAX = 500
FALLBACK = "swaplab"
"""Error handler for a stream that is not UTF-8."""
_LOOK_ALIKE = {**dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True)), "─": "-", "━": "-", "…": "...", "→": "->", "’": "'"}


def shown(text: str) -> str:
    """Return `text` with an escape for whatever is not printable, as Python would have it; line breaks too."""
    return text if text.isprintable() else "".join(map(_shown, text))


def shown_lines(text: str) -> str:
    """Return lines of text as `shown`."""
    return "\n".join(map(shown, text.split("\n")))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if ord(character) in _BYTE:
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def text_of(value: object, write: Callable[[object], str] = str) -> str:
    """Write a value of a user's program, whose own methods may fail, or write without end: `TEXT_MAX` characters."""
    try:
        text = write(value)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = f"something of the type {type(value).__name__} that cannot be shown"
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 3]}..."


def to_json(value: object) -> str:
    """Return a value as JSON on one line; a byte that is no UTF-8 is the escape of a lone surrogate."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        text = json.dumps(msgspec.to_builtins(value), separators=(",", ":"))
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def from_json(data: bytes) -> Any:  # noqa: ANN401 - whatever JSON may hold
    """Return what `to_json` was given, in Python's own types.

    Raises:
        ValueError: not JSON.
        RecursionError: too many arrays inside each other.
    """
    return json.loads(data)


def _look_alike(error: UnicodeError) -> tuple[str, int]:
    """Write what the encoding lacks with what it has; for `codecs.register_error`."""
    assert isinstance(error, UnicodeEncodeError)  # noqa: S101 - streams that are written have no other
    text = error.object[error.start : error.end]
    return "".join(_LOOK_ALIKE.get(each) or each.encode("unicode_escape").decode() for each in text), error.end


codecs.register_error(FALLBACK, _look_alike)
