"""Nothing that is shown is obeyed by a terminal, and nothing that is a name is lost in JSON."""

from __future__ import annotations

import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplab.cli.common import console
from swaplab.text import FALLBACK, from_json, shown, shown_lines, text_of, to_json

NASTY = "\x1b]0;title\x07 \x9b31m \u202etxt \ud800 \udcff \x7f\r\n"


@given(st.text(st.characters(codec=None)))
def test_what_is_shown_is_printable(text: str) -> None:
    assert shown(text).isprintable()
    assert shown(shown(text)) == shown(text)


def test_escapes_are_pythons() -> None:
    assert shown("a\x1b]0;b\x07\n\u202e") == r"a\x1b]0;b\x07\n\u202e"
    assert shown(os.fsdecode(b"caf\xe9 \xff")) == r"caf\xe9 \xff"
    assert shown("café ▁█") == "café ▁█"
    assert shown_lines("a\tb\n\x1b") == "a\\tb\n\\x1b"


@given(st.dictionaries(st.text(st.characters(codec=None)), st.text(st.characters(codec=None))))
def test_json_is_printable_and_gives_names_back(value: dict[str, str]) -> None:
    text = to_json(value)
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 or each in "\u202e\u2028" for each in text)
    assert from_json(text.encode()) == value


def test_json_of_plain_names_is_msgspecs() -> None:
    assert to_json({"é": [1.5, 1e16, None]}) == '{"é":[1.5,1e16,null]}'


def test_a_name_that_is_not_utf_8_comes_back_from_json_as_bytes() -> None:
    assert os.fsencode(json.loads(to_json([os.fsdecode(b"\xff\xfe")]))[0]) == b"\xff\xfe"


def test_a_console_obeys_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    console().print(NASTY)
    assert "\x1b" not in out.getvalue()
    assert r"\x1b]0;title" in out.getvalue()


def test_what_an_encoding_lacks_is_told_with_what_it_has() -> None:
    assert "▁█─ … é \u4e00".encode("ascii", FALLBACK) == rb"_#- ... \xe9 \u4e00"


class Silent:
    def __str__(self) -> str:
        raise SystemExit


def test_what_cannot_be_written_is_said_to_be_so() -> None:
    assert text_of(Silent()) == "something of the type Silent that cannot be shown"
    assert text_of("x" * 10**6).endswith("x...")
    assert text_of(10**5000, repr) == "something of the type int that cannot be shown"
