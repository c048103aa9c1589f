"""The archive, read back by a reader that was written from the format's description."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swaplab.vm.initramfs import archive

names = st.from_regex(r"[a-z]{1,9}(/[a-z]{1,9})?", fullmatch=True)
files = st.dictionaries(names, st.binary(max_size=99))


def read(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and contents by name."""
    entries: dict[str, tuple[int, bytes]] = {}
    at = 0
    while "TRAILER!!!" not in entries:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        start = (at + 110 + name_size + 3) // 4 * 4
        entries[name[:-1].decode()] = mode, data[start : start + size]
        at = (start + size + 3) // 4 * 4
    assert at == len(data)
    return entries


@given(files)
def test_what_goes_in_comes_out(contents: dict[str, bytes]) -> None:
    entries = read(archive({f"x/{name}": data for name, data in contents.items()}, {"init": b"program"}))
    assert entries["init"] == (0o100755, b"program")
    assert {name: entries[f"x/{name}"] for name in contents} == {
        name: (0o100644, data) for name, data in contents.items()
    }


def test_what_the_kernel_and_the_runner_need_is_there() -> None:
    entries = read(archive({}, {}))
    assert {name for name, (mode, _) in entries.items() if mode == 0o40755} == {"dev", "proc", "sys", "modules"}
    assert entries["dev/console"] == (0o20600, b"")
