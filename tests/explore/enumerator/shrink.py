"""The smallest program in which something is still so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.explore.enumerator.language import Body, Program, Statement

__all__ = ["shrink"]


def shrink(program: Program, is_so: Callable[[Program], bool]) -> Program:
    """Leave out of a program whatever can be left out; one thing at a time, so it is small, not smallest."""
    while smaller := next((each for each in _smaller(program) if is_so(each)), None):
        program = smaller
    return program


def _smaller(program: Program) -> Iterator[Program]:
    for at, body in enumerate(program):
        rest = program[:at], program[at + 1 :]
        if len(program) > 1:
            yield (*rest[0], *rest[1])
        yield from ((*rest[0], shorter, *rest[1]) for shorter in _shorter(body))


def _shorter(body: Body) -> Iterator[Body]:
    for at, statement in enumerate(body):
        before, after = body[:at], body[at + 1 :]
        yield (*before, *after)
        for inner in filter(_is_body, statement):
            yield (*before, *inner, *after)
        yield from ((*before, each, *after) for each in _with_shorter(statement))


def _with_shorter(statement: Statement) -> Iterator[Statement]:
    for at, part in enumerate(statement):
        if _is_body(part):
            yield from ((*statement[:at], shorter, *statement[at + 1 :]) for shorter in _shorter(part))


def _is_body(part: object) -> bool:
    return isinstance(part, tuple) and all(isinstance(each, tuple) for each in part)
