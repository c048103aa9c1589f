"""What setup has made, put back to what it was then: that takes a small part of making it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from swaplab.explore.history import Variable
from swaplab.explore.values import NEVER_CHANGES, told
from swaplab.kernel.sync.shared import Part, Shared

__all__ = ["Snapshot"]

COPIED = (list, dict, bytearray)
"""What parts keep their contents in."""
FIXED = ("name", "owner")


class Snapshot:
    """Whatever may change of a system: attributes of its objects, and what is in its parts.

    All else is constant, or refused.

    Args:
        state: what setup has returned.
        objects: that it has made, and
        parts: of these, by variable.

    Attributes:
        forms: of all of it, what is equal if setup makes the same another time.
    """

    def __init__(self, state: object, objects: list[Shared], parts: Mapping[Variable, Part]) -> None:
        self.state = state
        self.objects = [*objects]
        self.parts = {**parts}
        self._attributes = [(thing.__dict__, {**thing.__dict__}) for thing in objects]
        self._slots: list[tuple[Callable[[Part, Any], None], Part, Any]] = []
        self._contents: list[tuple[Callable[[Part, Any], None], Part, Any]] = []
        self._named: list[tuple[Shared | Part, str]] = []
        self.forms: list[object] = []
        for thing, attributes in zip(objects, self._attributes, strict=True):
            for name, value in attributes[1].items():
                if name != "_made":
                    self._named.append((thing, name))
                    self.forms.append(_form(value))
        for part in parts.values():
            for name, put, value in _slots(part):
                self._named.append((part, name.lstrip("_")))
                self.forms.append(_form(value))
                if isinstance(value, COPIED):
                    self._contents.append((put, part, value.copy()))
                else:
                    self._slots.append((put, part, value))

    def told(self) -> dict[str, object]:
        """Return all of it by what texts call that."""
        names = (f"{told(holder)}.{name}" for holder, name in self._named)
        return dict(zip(names, self.forms, strict=True))

    def restore(self) -> None:
        """Put all back."""
        for now, then in self._attributes:
            now.clear()
            now.update(then)
        for put, part, value in self._slots:
            put(part, value)
        for put, part, value in self._contents:
            put(part, value.copy())


def _slots(part: Part) -> Iterable[tuple[str, Callable[[Part, Any], None], Any]]:
    """Return the slots of a part that operations change: name, what puts something there, and what is there."""
    for kind in type(part).__mro__:
        for name in vars(kind).get("__slots__", ()):
            if name not in FIXED:
                yield name, vars(kind)[name].__set__, getattr(part, name)


def _form(value: object) -> object:
    """Return what can be compared of a value with what another setup made; of what is compared itself, its number."""
    if type(value) in NEVER_CHANGES:
        return value
    if isinstance(value, Shared):
        return value.__dict__.get("_number")
    if isinstance(value, Part):
        return _form(value.owner), value.name
    return told(value)
