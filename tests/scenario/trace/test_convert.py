"""Every reader against a naive one, and every kind of broken input."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.scenario.trace import Format, Trace, TraceInfo, convert, detect
from swaplab.scenario.trace import source as source_module

Row = tuple[str, int, bool, int | None]
Request = tuple[int, int, int, int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("convert")


def converted(folder: Path, content: bytes, name: str = "input", **options: Any) -> tuple[list[Row], TraceInfo]:
    """Convert `content`; return rows of (stream name, page, write, time) and the metadata."""
    path, out = folder / name, folder / "out.parquet"
    path.write_bytes(content)
    info = convert(path, out, **options)
    trace = Trace.open(out)
    assert trace.info == info
    rows: list[Row] = []
    for chunk in trace.chunks(with_time=trace.has_time):
        time = [None] * len(chunk.page) if chunk.time is None else chunk.time.tolist()
        rows += zip(
            [info.streams[n].name for n in chunk.stream],
            chunk.page.tolist(),
            chunk.write.tolist(),
            time,
            strict=True,
        )
    return rows, info


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Number the pages of each stream in order."""
    pages = {name: sorted({page for stream, page, *_ in rows if stream == name}) for name, *_ in rows}
    return [(name, pages[name].index(page), write, time) for name, page, write, time in rows]


# oracleGeneral

REQUEST = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(-1, 2**63 - 1),
)


def oracle(requests: list[Request]) -> bytes:
    return b"".join(struct.pack("<IQIq", *request) for request in requests)


@settings(max_examples=30, deadline=None)
@given(requests=st.lists(REQUEST, min_size=1, max_size=40), packed=st.booleans())
def test_oracle_general(folder: Path, requests: list[Request], packed: bool) -> None:
    content = oracle(requests)
    content = zstandard.compress(content) if packed else content
    rows, info = converted(folder, content, format="oracle-general")
    expected = ranked([("requests", key, False, time * 10**9) for time, key, _, _ in requests])
    assert rows == expected
    assert info.streams[0].ranges is None


def test_oracle_general_is_found_out(folder: Path) -> None:
    content = oracle([(1, 5, 100, 2), (1, 6, 100, -1), (2, 5, 100, -1)])
    for data, name in ((content, "x.bin"), (zstandard.compress(content), "x.oracleGeneral.zst")):
        rows, info = converted(folder, data, name)
        assert [row[1] for row in rows] == [0, 1, 0]
        assert info.source == f"oracle-general {name}"


def test_oracle_general_truncated_at_every_byte(folder: Path) -> None:
    content = oracle([(1, 5, 100, 2), (2, 5, 100, -1)])
    for size in range(1, len(content)):
        if size % 24:
            with pytest.raises(InputError, match=rf"byte {size // 24 * 24}: expected a record of 24 bytes"):
                converted(folder, content[:size], format="oracle-general")


# CSV


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.integers(0, 2**64 - 1),
            st.sampled_from(["r", "W"]),
            st.sampled_from("ab"),
        ),
        min_size=1,
        max_size=30,
    ),
    delimiter=st.sampled_from(",;\t|"),
    ending=st.sampled_from(["\n", "\r\n", "\n\n"]),
)
def test_csv_with_a_header(folder: Path, rows: list[tuple[int, int, str, str]], delimiter: str, ending: str) -> None:
    lines = [
        ["time", "obj_id", "op", "stream", "size"],
        *([str(cell) for cell in row] + ["1"] for row in rows),
    ]
    content = ending.join(delimiter.join(line) for line in lines).encode()
    found, _ = converted(folder, content, "x.csv")
    expected = [(stream, key, op == "W", time * 10**9) for time, key, op, stream in rows]
    assert found == ranked(expected)


def test_csv_of_plain_pages(folder: Path) -> None:
    rows, info = converted(folder, b"7\n9\n7\n0x8\n")
    assert [row[1] for row in rows] == [0, 2, 0, 1]
    assert info.streams[0].ranges == [(7, 3)]


def test_csv_of_addresses(folder: Path) -> None:
    rows, info = converted(folder, b"address,write\n0x1fff,1\n4096,0\n0x5000,0\n")
    assert [row[1:3] for row in rows] == [(0, True), (0, False), (1, False)]
    assert info.streams[0].ranges == [(1, 1), (5, 1)]


def test_csv_with_columns_told_as_to_libcachesim(folder: Path) -> None:
    content = b"1;x;30\n2;x;20\n"
    rows, _ = converted(folder, content, columns="time-col=1, obj-id-col=3, delimiter=;, has-header=false")
    assert rows == [("requests", 1, False, 10**9), ("requests", 0, False, 2 * 10**9)]
    rows, _ = converted(folder, b"when,what\n1,30\n", columns="delimiter=,, time_col=when, obj-id-col=what")
    assert rows == [("requests", 0, False, 10**9)]
    rows, _ = converted(folder, b"1\t30\n", columns=r"delimiter=\t,obj-id-col=2")
    assert rows == [("requests", 0, False, None)]


def test_csv_with_ids_that_are_text(folder: Path) -> None:
    rows, _ = converted(folder, b"key,time\nuser:1,1.5\nuser:2,2\nuser:1,3\n")
    pages = [row[1] for row in rows]
    assert pages in ([0, 1, 0], [1, 0, 1])
    assert [row[3] for row in rows] == [1_500_000_000, 2 * 10**9, 3 * 10**9]


def test_csv_longer_than_a_block(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_BLOCK_BYTES", 64)
    pages = [n * 7 % 50 for n in range(500)]
    content = b"page\n" + b"".join(b"%d\n" % page for page in pages)
    rows, _ = converted(folder, content, format="csv")
    assert [row[1] for row in rows] == pages
    with pytest.raises(InputError, match="line 502: "):
        converted(folder, content + b"x\n", format="csv")


@pytest.mark.parametrize(
    ("content", "columns", "expected"),
    [
        (b"page\n1\n\nx\n", "", "line 4: .*'x'"),
        (b"page\n1\n-3\n", "", "line 3"),
        (b"page\n1\n1,2\n", "", "line 3"),
        (b"page\n1\n18446744073709551616\n", "", "line 3"),
        (b"page,time\n1,2\n1\n", "", "line 3"),
        (b"page,time\n1,2\n1,soon\n", "", "line 3"),
        (b"page,time\n1,2\n1,nan\n", "", "line 3: expected a time"),
        (b"page,time\n1,2\n1,1e30\n", "", "line 3: expected a time"),
        (b"page,write\n1,1\n1,maybe\n", "", "line 3: expected read or write.*'maybe'"),
        (b"page,stream\n1,\xff\n", "", "line 2"),
        (b"page\n", "", "at least one access"),
        (b"\n\n\n", "", "lines of text"),
        (b"1,2\n3,4\n", "", "line 1: expected a column of pages"),
        (b"1,2\n3,4\n", "obj-id-col=3", "expected a column 3"),
        (b"1,2\n3,4\n", "obj-id-col=zero", "expected a column zero"),
        (b"1,2\n3,4\n", "object=1", "expected one of time-col"),
        (b"1,2\n3,4\n", "nonsense", "key=value"),
        (b"1,2\n3,4\n", "obj-id-col=1,delimiter=<>", "one character"),
        (b"1,2\n3,4\n", "obj-id-col=1,has-header=perhaps", "true or false"),
    ],
)
def test_csv_that_is_wrong(folder: Path, content: bytes, columns: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        converted(folder, content, "wrong.csv", format="csv", columns=columns)


# lackey

LACKEY_ACCESS = st.tuples(
    st.sampled_from("ILSM"),
    st.one_of(st.integers(0, 3 * 4096), st.integers(2**64 - 9000, 2**64 - 65536 - 1 + 60000)),
    st.integers(1, 5000),
)


@settings(max_examples=40, deadline=None)
@given(accesses=st.lists(LACKEY_ACCESS, min_size=1, max_size=40).filter(lambda rows: any(r[0] != "I" for r in rows)))
def test_lackey(folder: Path, accesses: list[tuple[str, int, int]]) -> None:
    accesses = [(kind, address, min(size, 2**64 - address)) for kind, address, size in accesses]
    lines = [
        "==1== Lackey",
        *(f"I  {a:08x},{s}" if k == "I" else f" {k} {a:08x},{s}" for k, a, s in accesses),
        "==1== ",
    ]
    rows, _ = converted(folder, "\n".join(lines).encode(), format="lackey")
    expected = [
        ("lackey", page, kind != "L", None)
        for kind, address, size in accesses
        if kind != "I"
        for page in range(address >> 12, ((address + size - 1) >> 12) + 1)
    ]
    assert rows == ranked(expected)


LACKEY = b"==5== Lackey\nI  0401ab70,3\n S 1fff000758,8\n L 1fff000ffc,8\r\n M 0401b770,1\n"


def test_lackey_is_found_out(folder: Path) -> None:
    rows, info = converted(folder, LACKEY)
    assert [row[1:3] for row in rows] == [(1, True), (1, False), (2, False), (0, True)]
    assert info.streams[0].ranges == [(0x401B, 1), (0x1FFF000, 2)]


def test_lackey_truncated_at_every_byte(folder: Path) -> None:
    for size in range(len(LACKEY)):
        try:
            rows, _ = converted(folder, LACKEY[:size], format="lackey")
        except InputError:
            continue
        assert len(rows) <= 4


@pytest.mark.parametrize(
    "line",
    [
        b" L 1000", b" L 1000,", b" L ,8", b" L 1000,0", b" L 1000,65537", b" L 1000,8x", b" X 1000,8",
        b"L 1000,8", b" L 10g0,8", b" L ffffffffffffffff,2", b" L 11111111111111111,8", b" L 1000,999999999",
        b"hello", b" ", b"I", b"=",
    ],
)  # fmt: skip
def test_lackey_lines_that_do_not_parse(folder: Path, line: bytes) -> None:
    for ending in (b"", b"\n", b"\n L 1000,8\n"):
        with pytest.raises(InputError, match=r"line 3: expected ' L address,size'"):
            converted(folder, b" L 1000,8\n\n" + line + ending, format="lackey")


def test_the_line_parser_is_the_same_interpreted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swaplab.scenario.trace import lackey

    compiled, _ = converted(folder, LACKEY)
    parse: Any = lackey._parse
    monkeypatch.setattr(lackey, "_parse", parse.py_func)
    assert converted(folder, LACKEY)[0] == compiled


# damo


def region(start: int, end: int, accesses: int) -> dict[str, object]:
    return {
        "start": f"{start:,}",
        "end": f"{end:,}",
        "nr_accesses": {"samples": accesses, "percent": None},
        "age": {},
    }


def record(target: int, snapshots: list[Any]) -> dict[str, object]:
    taken = [{"start_time": "0", "end_time": f"{time:,}", "regions": regions} for time, regions in snapshots]
    return {"kdamond_idx": None, "target_id": target, "snapshots": taken, "scheme_filters": []}


REGION = st.tuples(st.integers(0, 10 * 4096), st.integers(1, 5 * 4096), st.integers(-1, 3))
SNAPSHOT = st.tuples(st.integers(0, 10**18), st.lists(REGION, max_size=4))


@settings(max_examples=30, deadline=None)
@given(
    snapshots=st.lists(st.lists(SNAPSHOT, max_size=3), min_size=1, max_size=3),
    indent=st.sampled_from([None, 4]),
    packed=st.booleans(),
)
def test_damo(folder: Path, snapshots: list[list[Any]], indent: int | None, packed: bool) -> None:
    records = [
        record(number, [(time, [region(a, a + size, n) for a, size, n in regions]) for time, regions in taken])
        for number, taken in enumerate(snapshots)
    ]
    expected = [
        (f"target{number}", page, False, time)
        for number, taken in enumerate(snapshots)
        for time, regions in taken
        for start, size, accesses in regions
        if accesses > 0
        for page in range(start >> 12, (start + size - 1 >> 12) + 1)
    ]
    content = json.dumps(records, indent=indent).encode()
    content = zlib.compress(content) if packed else content
    if expected:
        assert converted(folder, content)[0] == ranked(expected)
    else:
        with pytest.raises(InputError, match="at least one access"):
            converted(folder, content)


def test_damo_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swaplab.scenario.trace import damo

    monkeypatch.setattr(damo, "BATCH_ROWS", 7)
    monkeypatch.setattr(damo, "_READ_CHARACTERS", 1)
    snapshots = [(time, [region(0, 20 * 4096, 1), region(4096, 8192, 0), region(0, 3 * 4096, 2)]) for time in (5, 6)]
    rows, info = converted(folder, json.dumps([record(1, snapshots), record(1, snapshots)]).encode())
    once = [("target1", page, False, time) for time in (5, 6) for page in (*range(20), *range(3))]
    assert rows == once + [("target1#1", *row[1:]) for row in once]
    assert info.pages == 40


DAMO = json.dumps([record(1, [(5, [region(0, 8192, 1)])])]).encode()


def test_damo_truncated_at_every_byte(folder: Path) -> None:
    for size in range(1, len(DAMO)):
        with pytest.raises(InputError):
            converted(folder, DAMO[:size], format="damo")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[]", "at least one access"),
        (b"[] x", "character 3: expected the end"),
        (b"{}", r"character 0: expected '\['"),
        (b"[" * 100_000, "character 1: expected '{'"),
        (b'[{"a":' + b"[" * 100_000, "nested too deeply"),
        (b'[{"snapshots": [' + b"1" * 5000 + b"]}]", "JSON"),
        (b'[{"snapshots": [NaN]}]', "NaN"),
        (b'[{"snapshots": [{}]}]', "character 16: expected a snapshot of damo"),
        (b'[{"snapshots": [{"end_time": "x", "regions": []}]}]', "expected a snapshot"),
        (b'[{"snapshots": [{"end_time": 1e300, "regions": []}]}]', "end_time in nanoseconds"),
        (b'[{"snapshots": [{"end_time": 1, "regions": [{"start": 5}]}]}]', "end"),
        (b'[{"\xff": 1}]', "UTF-8"),
        (DAMO.replace(b'"8,192"', b'"0"'), "a region from 0 to 0"),
        (DAMO.replace(b'"8,192"', b'"18446744073709551617"'), "a region from"),
        (DAMO.replace(b'"8,192"', b'"18446744073709551616"'), "a region of 4503599627370496 pages"),
    ],
)
def test_damo_that_is_wrong(folder: Path, content: bytes, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        converted(folder, content, format="damo")


def test_one_endless_value_is_not_taken_into_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from swaplab.scenario.trace import damo

    monkeypatch.setattr(damo, "_MAX_VALUE", 1 << 17)
    packed = zstandard.compress(b'[{"a": "' + b"x" * (1 << 23))
    with pytest.raises(InputError, match="values of at most"):
        converted(folder, packed, format="damo")


# compression, detection, options


@pytest.mark.parametrize("pack", [zstandard.compress, gzip.compress])
def test_compressed_input_that_is_damaged(folder: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(b"".join(b"%d\n" % (n * 7919) for n in range(2000)))
    for size in range(20, len(packed), len(packed) // 20):
        with pytest.raises(InputError):
            converted(folder, packed[:size], format="csv")


@pytest.mark.parametrize("pack", [zstandard.compress, gzip.compress, zlib.compress])
def test_what_unpacks_to_far_more_than_it_takes_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(source_module, "UNPACKED_RATIO", 100)
    packed = pack(b"[" + b" " * (1 << 20))
    converted_as = "damo" if pack is zlib.compress else "csv"
    with pytest.raises(InputError, match=r"bomb: (character|line) "):
        converted(folder, packed, name="bomb", format=converted_as)
    monkeypatch.setattr(source_module, "UNPACKED_FREE", 1 << 19)
    with pytest.raises(
        InputError, match=r"bomb: byte \d+: expected data that unpacks to at most 524288 bytes and 100 "
    ):
        converted(folder, packed, name="bomb", format=converted_as)


@pytest.mark.parametrize("format", ["oracle-general", "csv", "damo", "lackey", None])
def test_a_file_with_a_hole_is_refused(folder: Path, format: Format | None) -> None:
    path = folder / "holes"
    path.write_bytes(bytes(1 << 16))
    with path.open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"holes: byte 65536: expected data to the end, found a hole"):
        convert(path, folder / "out.parquet", format)


def test_zstd_in_several_frames(folder: Path) -> None:
    rows, _ = converted(folder, zstandard.compress(b"1\n2\n") + zstandard.compress(b"3\n1\n"))
    assert [row[1] for row in rows] == [0, 1, 2, 0]


def test_zlib_that_ends_early(folder: Path) -> None:
    packed = zlib.compress(DAMO)
    for size in range(16, len(packed)):
        with pytest.raises(InputError):
            converted(folder, packed[:size])


def test_a_bomb_without_lines_is_bounded(folder: Path) -> None:
    bomb = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(bomb, closefd=False) as writer:
        for _ in range(256):
            writer.write(bytes(1 << 20))
    before = pa.total_allocated_bytes()
    with pytest.raises(InputError, match="line 1: expected at most"):
        converted(folder, bomb.getvalue(), format="csv")
    assert pa.total_allocated_bytes() - before < 1 << 20


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "an empty file"),
        (b"PAR1" + bytes(100), "needs no conversion"),
        (bytes(range(256)) * 4, "tell which with --format"),
        (b"\0" * 5, "tell which with --format"),
    ],
)
def test_formats_that_are_not_found_out(folder: Path, content: bytes, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        converted(folder, content, "unknown")


def test_detect(folder: Path) -> None:
    for content, expected in (
        (b"  [", "damo"),
        (LACKEY, "lackey"),
        (b"a,b\n", "csv"),
        (oracle([(1, 2, 3, 4)]), "oracle-general"),
    ):
        (folder / "file").write_bytes(content)
        assert detect(folder / "file") == expected


def test_a_limit_may_end_inside_a_record(folder: Path) -> None:
    rows, info = converted(folder, DAMO, limit=1)
    assert (len(rows), len(info.streams)) == (1, 1)


def test_limit_and_window(folder: Path) -> None:
    content = b"".join(b"%d\n" % page for page in (1, 1, 2, 1, 3, 3, 3))
    assert [row[1] for row in converted(folder, content, limit=4)[0]] == [0, 0, 1, 0]
    rows, info = converted(folder, content, limit=6, window=2)
    assert [row[1] for row in rows] == [0, 1, 2]
    assert info.window == 2


@pytest.mark.parametrize("options", [{"limit": 0}, {"window": 0}, {"columns": "obj-id-col=1", "format": "lackey"}])
def test_options_that_are_wrong(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        converted(folder, b"1\n", **options)


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=200),
    format=st.sampled_from(["oracle-general", "csv", "damo", "lackey", None]),
)
def test_random_bytes_give_a_trace_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, format: Format | None
) -> None:
    folder = tmp_path_factory.mktemp("random")
    try:
        rows, info = converted(folder, data, format=format)
    except InputError:
        assert [path.name for path in folder.iterdir()] == ["input"]
    else:
        assert len(rows) == info.accesses


def test_memory_is_flat_in_trace_length(folder: Path) -> None:
    def peak(requests: int) -> int:
        content = oracle([(1, key * 7919, 1, -1) for key in range(1000)]) * (requests // 1000)
        (folder / "input").write_bytes(content)
        del content
        tracemalloc.start()
        convert(folder / "input", folder / "out.parquet", "oracle-general")
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    assert peak(3_000_000) < 1.1 * peak(1_500_000)


def test_progress_ends_at_the_end(folder: Path) -> None:
    (folder / "input").write_bytes(b"1\n2\n")
    seen = []
    convert(folder / "input", folder / "out.parquet", progress=lambda *stage: seen.append(stage))
    assert seen == [("reading", 4, 4), ("writing", 2, 2)]


def test_what_has_no_end_is_not_read(folder: Path) -> None:
    for path in (folder, Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path}: expected a regular file"):
            convert(path, folder / "endless.parquet", limit=1)
    assert not (folder / "endless.parquet").exists()


def test_the_input_is_not_overwritten(folder: Path) -> None:
    path = folder / "only.csv"
    path.write_bytes(b"page\n1\n2\n")
    with pytest.raises(InputError, match="another file than the input"):
        convert(path, folder / "." / "only.csv")
    assert path.read_bytes() == b"page\n1\n2\n"
