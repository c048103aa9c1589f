"""Scenario files: every key is read, and whatever is wrong is named by file, key, expectation and finding."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.scenario.content import Mix, Part, Random, Ratio, Zero
from swaplab.scenario.device import DEVICES, Device
from swaplab.scenario.load import LIMITS, TOP, load_scenario, parse_scenario
from swaplab.scenario.model import Cgroup, Event, Machine, Proposed, Scenario, Swap, Workload, Zswap
from swaplab.scenario.patterns import HotCold, Phases, Scan, Uniform, Zipf

WORKLOAD = "[[workload]]\npages = 10\n"
DOCUMENTATION = Path(__file__).parents[2] / "docs/reference/scenario.md"

FULL = """
name = "all"
description = "every key"
interleave = 7
samples = 3
[machine]
memory = "2G"
kernel = "7.2"
lru = "mglru"
page_cluster = 3
swappiness = 100
nodes = 2
seed = 5
[zswap]
enabled = true
compressor = "zstd"
max_pool_percent = 30
accept_threshold_percent = 80
shrinker_enabled = true
lru = "global"
[swap]
size = "3M"
device = { read_latency = "1us", write_latency = "2us", read_bandwidth = "1M", write_bandwidth = "2M" }
[cgroup."a"]
memory.max = "64M"
memory.high = 4096
memory.swap.max = "max"
memory.zswap.max = 0
memory.zswap.writeback = false
[cgroup."a/b"]
"memory.high" = "1K"
memory.zswap.writeback = 1
[[workload]]
name = "one"
cgroup = "a/b"
pages = 12
accesses = 34
pattern = { kind = "zipf", exponent = 0.5 }
write_fraction = 0.25
content = { mix = [{ weight = 1, content = "zero" }, { weight = 3, content = { ratio = 2.5 } }] }
[[workload]]
trace = "t.parquet"
streams = ["x"]
[[event]]
at = 3
cgroup = "a"
memory.max = "max"
memory.high = "2M"
memory.zswap.writeback = true
memory.reclaim = "1M"
exit = true
[[event]]
at = 4
cgroup = "a/b"
remove = true
"""


def parse(text: str, *overrides: str) -> Scenario:
    return parse_scenario(text, "s.toml", Path("dir"), overrides)


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        parse(text, *overrides)
    return str(caught.value)


def outcome(text: str, *overrides: str) -> Scenario | InputError:
    try:
        return parse(text, *overrides)
    except InputError as error:
        return error


def test_every_key() -> None:
    device = Device(read_latency_ns=1000, write_latency_ns=2000, read_bandwidth=1 << 20, write_bandwidth=2 << 20)
    content = Mix((Part(1, Zero()), Part(3, Ratio(2.5))))
    assert parse(FULL) == Scenario(
        name="all",
        description="every key",
        interleave=7,
        samples=3,
        machine=Machine(memory=2 << 30, kernel="7.2", lru="mglru", page_cluster=3, swappiness=100, nodes=2, seed=5),
        zswap=Zswap(
            enabled=True,
            compressor="zstd",
            max_pool_percent=30,
            accept_threshold_percent=80,
            shrinker_enabled=True,
            lru="global",
        ),
        swap=Swap(size=3 << 20, device=device),
        cgroups={
            "a": Cgroup(memory_max=64 << 20, memory_high=4096, memory_zswap_max=0, memory_zswap_writeback=False),
            "a/b": Cgroup(memory_high=1024),
        },
        workloads=(
            Workload(
                name="one",
                cgroup="a/b",
                pages=12,
                accesses=34,
                pattern=Zipf(0.5),
                write_fraction=0.25,
                content=content,
            ),
            Workload(trace="t.parquet", streams=("x",)),
        ),
        events=(
            Event(
                at=3,
                cgroup="a",
                set={"memory_max": None, "memory_high": 2 << 20, "memory_zswap_writeback": True},
                reclaim=1 << 20,
                exit=True,
            ),
            Event(at=4, cgroup="a/b", remove=True),
        ),
        base=Path("dir"),
        source="s.toml",
    )


def test_defaults_are_the_kernels() -> None:
    scenario = parse(WORKLOAD)
    assert scenario == Scenario(workloads=(Workload(pages=10),), base=Path("dir"), source="s.toml")
    assert scenario.zswap == Zswap(
        enabled=False, compressor="lzo", max_pool_percent=20, accept_threshold_percent=90, shrinker_enabled=False
    )
    assert (scenario.swap.device, scenario.machine.swappiness) == (DEVICES["nvme"], 60)
    assert scenario.workloads[0].content == Random()


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ('"scan"', Scan()),
        ('"uniform"', Uniform()),
        ('"zipf"', Zipf(1.0)),
        ('"phases"', Phases(0.25, 100_000)),
        ('"hot_cold"', HotCold(0.1, 0.9)),
        ('{ kind = "phases", share = 1, length = 3 }', Phases(1.0, 3)),
        ('{ kind = "hot_cold", hot = 0.5, share = 0 }', HotCold(0.5, 0.0)),
    ],
)
def test_patterns(text: str, pattern: object) -> None:
    assert parse(f"{WORKLOAD}pattern = {text}").workloads[0].pattern == pattern


def test_swap_may_be_memory() -> None:
    assert parse(f'[swap]\ndevice = "zram"\n{WORKLOAD}').swap.device == "zram"


CGROUP = f"[cgroup.a]\n[cgroup.b]\n{WORKLOAD}"
EVENT = f'{CGROUP}[[event]]\nat = 1\ncgroup = "a"\n'
MISTAKES = [
    ("", "workload: expected at least one [[workload]], found none"),
    ("a = ", "expected TOML, found Invalid value (at end of document)"),
    ("a = " + "[" * 5000, "expected TOML, found maximum recursion depth exceeded"),
    ("a = " + "9" * 5000, "expected TOML, found Exceeds the limit (4300 digits)"),
    ("a = 0x1" + "0" * 16, "expected numbers of at most 64 bits, found one of 65"),
    ("a" + ".a" * 1001 + " = 1", "line 1: expected keys of at most 12 parts"),
    ("a" + ".a" * 20 + " = 1", "line 1: expected keys of at most 12 parts"),
    ("a = " + "[" * 20 + "]" * 20, "expected at most 12 tables and arrays inside each other, found more"),
    ('name = "a\\u001b[2J"', r"expected text without control characters, found '\x1b'"),
    ('"\\u0000" = 1', r"expected text without control characters, found '\x00'"),
    (f"zwsap = 1\n{WORKLOAD}", f"expected only the keys {', '.join(TOP)}, found 'zwsap' (did you mean zswap?)"),
    (f"name = 3\n{WORKLOAD}", "name: expected text, found 3"),
    (f"samples = 0\n{WORKLOAD}", "samples: expected a whole number >= 1, found 0"),
    (f"interleave = 'x'\n{WORKLOAD}", "interleave: expected a whole number or trace, found 'x'"),
    (f"interleave = true\n{WORKLOAD}", "interleave: expected a whole number or trace, found true"),
    (f"machine = [1]\n{WORKLOAD}", "machine: expected a table, found [1]"),
    (f"[machine]\nmemroy = 1\n{WORKLOAD}", "found 'memroy' (did you mean memory?)"),
    (f"[machine]\nmemory = '1X'\n{WORKLOAD}", "machine.memory: expected a size, bytes or with K, M, G, T"),
    (f"[machine]\nmemory = 1.5\n{WORKLOAD}", "(such as 64M or 1.5G), found 1.5"),
    (f"[machine]\nmemory = 'max'\n{WORKLOAD}", "(such as 64M or 1.5G), found 'max'"),
    (f"[machine]\nswappiness = true\n{WORKLOAD}", "machine.swappiness: expected a whole number, found true"),
    (f"[machine]\npage_cluster = 6\n{WORKLOAD}", "machine.page_cluster: expected a whole number <= 5, found 6"),
    (f"[machine]\nkernel = '6.18'\n{WORKLOAD}", "machine.kernel: expected 6.12 or 7.2, found '6.18'"),
    (f"[machine]\nkernel = 7\n{WORKLOAD}", "machine.kernel: expected text, found 7"),
    (f"[machine]\nlru = 'x'\n{WORKLOAD}", "machine.lru: expected classic or mglru, found 'x'"),
    (f"[zswap]\ncompressor = 'lz5'\n{WORKLOAD}", "expected lzo or lzo-rle or lz4 or zstd or deflate, found 'lz5'"),
    (f"[zswap]\nenabled = 'yes'\n{WORKLOAD}", "zswap.enabled: expected true or false, found 'yes'"),
    (f"[zswap]\nmax_pool_percent = 101\n{WORKLOAD}", "zswap.max_pool_percent: expected a whole number <= 100"),
    (f"swap = 'x'\n{WORKLOAD}", "swap: expected a table, found 'x'"),
    (f"[swap]\ndevice = 'floppy'\n{WORKLOAD}", "swap.device: expected one of nvme, ssd, hdd or a table of its own"),
    (f"cgroup = [1]\n{WORKLOAD}", 'cgroup: expected tables such as [cgroup."a/b"], found [1]'),
    (f"cgroup.a = 1\n{WORKLOAD}", 'cgroup."a": expected a table, found 1'),
    (f"[cgroup.a.b]\n{WORKLOAD}", 'cgroup."a": expected the cgroups in it as [cgroup."a/b"], found a table b'),
    (f"[cgroup.a]\nmemory.mxa = 1\n{WORKLOAD}", "found 'memory.mxa' (did you mean memory.max?)"),
    (f"[cgroup.a.memory]\n{WORKLOAD}", "found 'memory' (did you mean memory.max?)"),
    (f"[cgroup.a]\nmemory.max = -1\n{WORKLOAD}", "powers of 1024 (such as 64M or 1.5G), found -1"),
    (f"[cgroup.a]\nmemory.zswap.writeback = 'max'\n{WORKLOAD}", "writeback: expected true or false, found 'max'"),
    (f"[cgroup.a]\nmemory.zswap.writeback = 1.0\n{WORKLOAD}", "writeback: expected true or false, found 1.0"),
    ("[workload]\npages = 1", "workload: expected an array of tables ([[...]]), found {'pages': 1}"),
    ("workload = [1]", "workload[0]: expected a table, found 1"),
    ("[[workload]]\npgaes = 1", "workload[0]: expected only the keys"),
    ("[[workload]]\npages = '10'", "workload[0].pages: expected a whole number, found '10'"),
    ("[[workload]]\npages = 0", "workload[0].pages: expected a whole number >= 1, found 0"),
    (f"{WORKLOAD}accesses = {2**40 + 1}", "workload[0].accesses: expected a whole number <= 1099511627776"),
    (f"{WORKLOAD}pattern = 'zif'", "zipf or phases or hot_cold or churn, found 'zif'"),
    (f"{WORKLOAD}pattern = 3", "pattern: expected scan or uniform or zipf or phases or hot_cold or churn, found 3"),
    (f"{WORKLOAD}pattern = {{ exponent = 1 }}", "pattern: expected the key kind, found {'exponent': 1}"),
    (f"{WORKLOAD}pattern = {{ kind = 'scan', a = 1 }}", "pattern: expected no key a, found"),
    (
        f"{WORKLOAD}pattern = {{ kind = 'zipf', exponent = nan }}",
        "pattern.exponent: expected a number > 0.0, found nan",
    ),
    (f"{WORKLOAD}write_fraction = 1.5", "workload[0].write_fraction: expected a number <= 1.0, found 1.5"),
    (f"{WORKLOAD}content = 'x'", "workload[0].content: expected zero, random or a table with one key of"),
    (f"{WORKLOAD}streams = 'x'", "workload[0].streams: expected an array, found 'x'"),
    (f"{WORKLOAD}streams = ['x', 3]", "workload[0].streams[1]: expected text, found 3"),
    (
        "[[workload]]\ntrace = 'x'\npattern = 'scan'",
        "pattern: expected none with a trace, which has its own, found 'scan'",
    ),
    ("[[workload]]\ntrace = 'x'\nwrite_fraction = 1", "write_fraction: expected none with a trace"),
    (f"{WORKLOAD}kind = 'file'\ncontent = 'zero'", "workload[0].content: expected none for a file"),
    (f"{WORKLOAD}kind = 'pipe'", "workload[0].kind: expected anonymous or file, found 'pipe'"),
    (f"{CGROUP}[[event]]\ncgroup = 'a'", "event[0]: expected the key at, found an event without it"),
    (f"{CGROUP}[[event]]\nat = -1\ncgroup = 'a'", "event[0].at: expected a whole number >= 0, found -1"),
    (f"{EVENT}remoev = true", "event[0]: expected only the keys at, cgroup, memory.reclaim"),
    (f"{EVENT}remove = 3", "event[0].remove: expected true or false, found 3"),
    (f"{EVENT}memory.reclaim = 'max'", "event[0].memory.reclaim: expected a size"),
    ("event = 3\n[[workload]]\npages = 1", "event: expected an array of tables ([[...]]), found 3"),
    (f"{CGROUP}[[event]]\nat = 3", "event[0]: expected the key cgroup, found an event without it"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[message[:60] for _, message in MISTAKES])
def test_mistakes_are_named(text: str, message: str) -> None:
    said = refused(text)
    assert said.startswith("s.toml: ")
    assert message in said
    assert len(said) < 500


# Overrides ------------------------------------------------------------------------------------------------------------


def test_a_mark_before_the_text_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + WORKLOAD.replace("\n", "\r\n").encode())
    assert load_scenario(tmp_path / "x.toml").workloads[0].pages == 10


def test_a_trace_is_no_scenario(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1" + bytes(2 << 20))
    with pytest.raises(
        InputError, match=r"t\.parquet: expected a scenario, found Parquet; for a trace, write a scenario"
    ):
        load_scenario(tmp_path / "t.parquet")


def test_a_device_for_scenarios_that_name_none(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for swap, expected in [
        ("", DEVICES["hdd"]),
        ("[swap]\nsize = '3M'\n", DEVICES["hdd"]),
        ("[swap]\ndevice = 'nvme'\n", DEVICES["nvme"]),
        ("[swap]\ndevice = 'zram'\n", "zram"),
    ]:
        path.write_text(swap + WORKLOAD)
        assert load_scenario(path, device=DEVICES["hdd"]).swap.device == expected
        assert load_scenario(path, ["swap.device=ssd"], DEVICES["hdd"]).swap.device == DEVICES["ssd"]


def test_overrides_change_and_add_keys() -> None:
    text = f'[cgroup."a/b"]\nmemory.max = 4096\n[cgroup.a]\n{WORKLOAD}[[workload]]\npages = 5\n'
    scenario = parse(
        text,
        "zswap.compressor=zstd",
        "zswap.enabled=true",
        "machine.memory=64M",
        'cgroup."a/b".memory.max=8192',
        "cgroup.a.memory.high=max",
        "workload.1.pages=6",
        "workload.0.pattern.kind=zipf",
        'workload.1.pattern={kind="zipf", exponent=2}',
        'name=a "name"',
    )
    assert scenario.zswap == Zswap(compressor="zstd", enabled=True)
    assert scenario.machine.memory == 64 << 20
    assert scenario.cgroups == {"a/b": Cgroup(memory_max=8192), "a": Cgroup()}
    assert [each.pages for each in scenario.workloads] == [10, 6]
    assert [each.pattern for each in scenario.workloads] == [Zipf(), Zipf(2.0)]
    assert scenario.name == 'a "name"'


@pytest.mark.parametrize("given", ["7.2", "'7.2'", '"7.2"'])
def test_a_release_is_text_that_may_be_written_as_a_number(given: str) -> None:
    assert parse(WORKLOAD, f"machine.kernel={given}").machine.kernel == "7.2"


def test_the_last_override_counts() -> None:
    assert parse(WORKLOAD, "samples=3", "samples=4").samples == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("samples", "--set: expected KEY=VALUE with a key as in the scenario file, found 'samples'"),
        ("=3", "--set: expected KEY=VALUE"),
        ("a b=3", "--set: expected KEY=VALUE"),
        ("", "--set: expected KEY=VALUE"),
        ("a" + ".a" * 2000 + "=1", "--set: expected KEY=VALUE"),
        ("workload.1.pages=3", "s.toml: --set: expected a number below 1, found 1"),
        ("cgroup.x.memory.max=3M", 's.toml: --set cgroup."x": expected a cgroup of the scenario (none), found x'),
        ("workload.x.pages=3", "s.toml: --set: expected a number below 1, found x"),
        ("zswap.compresor=lz4", "s.toml: zswap: expected only the keys"),
        ("machine.memory=lots", "s.toml: machine.memory: expected a size"),
    ],
)
def test_wrong_overrides_are_named(override: str, message: str) -> None:
    assert refused(WORKLOAD, override).startswith(message)


# Files ----------------------------------------------------------------------------------------------------------------


def test_a_file_is_named_and_its_directory_is_the_base(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(WORKLOAD)
    scenario = load_scenario(path, ["samples=7"])
    assert (scenario.base, scenario.source, scenario.samples) == (tmp_path, str(path), 7)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(InputError, match=re.escape(f"{path}: byte 8: expected UTF-8 text")):
        load_scenario(path)


def test_only_so_much_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="a file of at most 1048576 bytes, found a larger one"):
        load_scenario(large)


def test_no_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_scenario(tmp_path / "none.toml")


# Anything at all ------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from(
    [
        *TOP,
        *LIMITS,
        *(name for kind in (Machine, Zswap, Swap, Workload, Event) for name in kind.__struct_fields__),
        *("memory", "max", "kind", "ratio", "mix", "weight", "same_filled", "a", "a/b", "", "..", "seek"),
    ]
)
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-2, 5),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.sampled_from(["64M", "max", "zram", "trace", "zipf", "lz4", "zero", "a", "a/b", "1us", "x.parquet"]),
    st.text(max_size=5),
)
TABLES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=5),
    max_leaves=12,
)
PARTS: dict[str, st.SearchStrategy[Any]] = {
    key: st.dictionaries(KEYS, TABLES, max_size=4) | TABLES for key in ("machine", "zswap", "swap", "cgroup")
}
PARTS |= {
    key: st.lists(st.dictionaries(KEYS, TABLES, max_size=4), max_size=3) | TABLES for key in ("workload", "event")
}
PARTS |= dict.fromkeys(("name", "description", "interleave", "samples"), TABLES)


@settings(max_examples=150)
@given(table=st.fixed_dictionaries({}, optional=PARTS))
@example(table={"workload": [{"pages": 1, "content": {"ratio": {}}}]})
def test_any_table_gives_a_scenario_or_an_input_error(table: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tomllib, "loads", lambda text: table)
        found = outcome("")
    if isinstance(found, InputError):
        assert found.where.split(":")[0] == "s.toml"
        assert found.expected
        assert found.found


@settings(max_examples=300)
@given(text=st.text(alphabet=st.sampled_from("[]{}=.\"'\n#,ab1-:\x00 "), max_size=60))
def test_any_text_gives_a_scenario_or_an_input_error(text: str) -> None:
    assert isinstance(outcome(text), InputError)


@settings(max_examples=300)
@given(override=st.text(max_size=30) | st.from_regex(r"(workload\.0|zswap|cgroup)\.[a-z]{1,9}=[a-z0-9\"]{0,9}"))
def test_any_override_gives_a_scenario_or_an_input_error(override: str) -> None:
    found = outcome(WORKLOAD, override)
    if isinstance(found, InputError):
        assert found.where.startswith(("s.toml", "--set"))


# Documentation --------------------------------------------------------------------------------------------------------


def examples() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", examples())
def test_documented_examples_are_scenarios(text: str) -> None:
    assert parse(text).workloads


def test_every_key_is_documented() -> None:
    text = DOCUMENTATION.read_text()
    kinds = (Machine, Zswap, Swap, Proposed, Workload, Device, Zipf, Phases, HotCold)
    keys = {name.removesuffix("_ns") for kind in kinds for name in kind.__struct_fields__}
    keys |= {*TOP, *LIMITS, "at", "memory.reclaim", "times", "every", "exit", "remove"}
    assert not [key for key in sorted(keys) if f"`{key}`" not in text]


def test_an_event_may_happen_again_and_again() -> None:
    event = '[cgroup.a]\n[[event]]\nat = 2\ncgroup = "a"\nmemory.reclaim = "4K"\ntimes = 3\nevery = 4\n'
    assert [(each.at, each.reclaim) for each in parse(WORKLOAD + event).events] == [(2, 4096), (6, 4096), (10, 4096)]
    with pytest.raises(InputError, match=r"event\[0\].times: expected 1, as the cgroup is removed, found 3"):
        parse(WORKLOAD + event + "remove = true\n")


def test_what_is_of_no_release_is_asked_for_over_the_newest() -> None:
    event = '[cgroup.a]\n[[event]]\nat = 0\ncgroup = "a"\nmemory.reclaim = "1M source=zswap"\n'
    proposed = "[proposed]\nshrink_batch = 32\n"
    scenario = parse('machine.kernel = "7.2"\n' + proposed + WORKLOAD + event)
    assert (scenario.events[0].reclaim, scenario.events[0].source) == (1 << 20, "zswap")
    assert scenario.unreleased == ["shrink_batch = 32", "memory.reclaim with source=zswap"]
    for text in (proposed + WORKLOAD, WORKLOAD + event):
        with pytest.raises(InputError, match=r"machine\.kernel: expected 7\.2, over which it was proposed: "):
            parse(text)
    assert not parse(WORKLOAD).unreleased
