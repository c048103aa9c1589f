"""What swaplab raises when the input, not the code, is at fault.

```
SwaplabError            anything a user can cause and mend; the command line prints it and exits with status 2
├── InputError          a file, key, row or byte of the input is not what it has to be
└── UnsupportedError    the input is right, but this engine does not model it (yet)
```
"""

from __future__ import annotations

from swaplab.text import shown

__all__ = ["InputError", "SwaplabError", "UnsupportedError"]


FOUND_MAX = 1000  # characters of what was found that are said


class SwaplabError(Exception):
    """A problem the user can mend."""


class InputError(SwaplabError):
    """Bad input: where it is, what was expected there and what was found.

    Args:
        where: file, with the key, row or byte offset inside it (``"a.toml: machine.memory"``).
        expected: what would have been right.
        found: what was there.
    """

    def __init__(self, where: object, expected: str, found: object) -> None:
        self.where, self.expected, self.found = str(where), expected, _cut(str(found))
        super().__init__(shown(f"{where}: expected {expected}, found {self.found}"))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Say how it is made again in another process."""
        return type(self), (self.where, self.expected, self.found)


def _cut(found: str) -> str:
    """What was found, of which a line holds the beginning: it may be all of a large file."""
    return found if len(found) <= FOUND_MAX else f"{found[:FOUND_MAX]}..."


class UnsupportedError(SwaplabError):
    """Input that is right but that the chosen engine does not model."""
