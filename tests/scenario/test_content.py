from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swaplab.errors import InputError
from swaplab.scenario.content import (
    Content,
    File,
    Mix,
    Part,
    Profiled,
    Random,
    Ratio,
    SameFilled,
    Samples,
    Zero,
    content_from_toml,
    sample_hash,
    write_profile,
)

compiled_hash: Callable[[int, int], int] = cast("Any", numba.njit)(sample_hash)

HERE = Path()
BLEND = {
    "mix": [
        {"weight": 1, "content": "zero"},
        {"weight": 2, "content": "random"},
        {"weight": 1, "content": {"same_filled": 0x42}},
        {"weight": 4, "content": {"ratio": 3}},
    ]
}


def resolve(value: object, seed: int = 0, base: Path = HERE) -> Samples:
    return content_from_toml(value).resolve(seed, base)


# The hash.

numbers = st.integers(0, (1 << 32) - 1)


@given(page=numbers, version=numbers)
def test_hash_is_the_same_however_computed(page: int, version: int) -> None:
    expected = sample_hash(page, version)
    assert 0 <= expected < 1 << 32
    assert compiled_hash(page, version) == expected
    with np.errstate(all="raise"):
        assert sample_hash(np.int64(page), np.int64(version)) == expected  # type: ignore[arg-type]
        assert np.array_equal(sample_hash(np.array([page]), version), [expected])  # type: ignore[arg-type]


def test_hash_is_this_for_ever() -> None:
    assert [sample_hash(0, 0), sample_hash(1, 0), sample_hash(0, 1), sample_hash(12345, 678)] == [
        2843710686,
        2469502849,
        1662133152,
        3075822100,
    ]


@pytest.mark.parametrize("buckets", [2, 7, 64, 1000])
@pytest.mark.parametrize("stride", [1, 8, 4096])
def test_hash_spreads_consecutive_pages_and_versions(buckets: int, stride: int) -> None:
    page, version = np.meshgrid(np.arange(1000) * stride, np.arange(20))
    for hashes in (sample_hash(page, version), sample_hash(version, page)):  # type: ignore[arg-type]
        counts = np.bincount(np.ravel(hashes) % buckets, minlength=buckets)
        expected = 20000 / buckets
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        # Mean k - 1, variance 2(k - 1): five deviations.
        assert abs(chi_square - (buckets - 1)) < 5 * (2 * (buckets - 1)) ** 0.5


def test_neighbours_have_unrelated_hashes() -> None:
    page = np.arange(20000)
    for other in (sample_hash(page + 1, 0), sample_hash(page, 1)):  # type: ignore[arg-type]
        flipped = np.bitwise_count(sample_hash(page, 0) ^ other)  # type: ignore[arg-type]
        assert abs(float(np.mean(flipped)) - 16) < 0.1


# What TOML means.


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ('"zero"', Zero()),
        ('"random"', Random()),
        ("{same_filled = 0x42}", SameFilled(0x42)),
        ("{same_filled = 0x7fffffffffffffff}", SameFilled((1 << 63) - 1)),
        ("{ratio = 2.5}", Ratio(2.5)),
        ("{ratio = 3}", Ratio(3.0)),
        ("{ratio = {lz4 = 2.0, zstd = 3}}", Ratio({"lz4": 2.0, "zstd": 3.0})),
        ('{file = "x.bin"}', File("x.bin")),
        ('{profile = "p.parquet"}', Profiled("p.parquet")),
        ('{mix = [{weight = 0.2, content = "zero"}]}', Mix((Part(0.2, Zero()),))),
    ],
)
def test_toml_becomes_content(text: str, content: Content) -> None:
    assert content_from_toml(tomllib.loads(f"content = {text}")["content"]) == content


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("one", "content: expected zero, random or a table .* found 'one'"),
        (1, "content: expected zero"),
        ({}, "content: expected zero"),
        ({"size": 1}, "content: expected zero.* found {'size': 1}"),
        ({"ratio": 2, "file": "x"}, "content: expected zero"),
        ({"same_filled": "x"}, "content.same_filled: expected an integer, found 'x'"),
        ({"same_filled": -1}, "content.same_filled: expected a byte or a 64-bit word, found -1"),
        ({"same_filled": 1 << 64}, "content.same_filled: expected a byte"),
        ({"ratio": True}, "content.ratio: expected a number"),
        ({"ratio": {"lz4": "x"}}, "content.ratio: expected a number"),
        ({"ratio": {}}, "content.ratio: expected a ratio for one"),
        ({"ratio": 0}, "content.ratio: expected a positive number, found 0"),
        ({"ratio": float("nan")}, "content.ratio: expected a positive"),
        ({"ratio": {"lz5": 2}}, "content.ratio: expected compressors among .* found 'lz5'"),
        ({"file": 3}, "content.file: expected a path, found 3"),
        ({"profile": []}, "content.profile: expected a path"),
        ({"mix": []}, "content.mix: expected a list of 1 to 255"),
        ({"mix": "zero"}, "content.mix: expected a list"),
        ({"mix": [{"weight": 1, "content": "zero"}] * 256}, "content.mix: expected a list"),
        ({"mix": [{"weight": 1}]}, r"content.mix\[0\]: expected a table"),
        ({"mix": [{"weight": 0, "content": "zero"}]}, r"content.mix\[0\].weight: expected a positive"),
        ({"mix": [{"weight": True, "content": "zero"}]}, r"content.mix\[0\].weight: expected a positive"),
        ({"mix": [{"weight": 1, "content": {"ratio": -1}}]}, r"content.mix\[0\].content.ratio: expected"),
        ({"mix": [{"weight": 1, "content": {"mix": []}}]}, r"content.mix\[0\].content: expected zero"),
    ],
)
def test_anything_else_is_an_error_with_a_place(value: object, message: str) -> None:
    with pytest.raises(InputError, match=r"^a\.toml: workload\[0\]\." + message):
        content_from_toml(value, "a.toml: workload[0].content")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"file": "missing"}, r"content.mix\[0\].content.file: expected .*missing"),
        ({"profile": "missing"}, r"content.mix\[0\].content.profile: .*missing"),
        ({"ratio": 1000}, r"content.mix\[0\].content.ratio: expected ratios.*closest"),
    ],
)
def test_what_resolving_finds_has_a_place_too(value: object, message: str, tmp_path: Path) -> None:
    content = content_from_toml({"mix": [{"weight": 1, "content": value}]})
    with pytest.raises(InputError, match=message):
        content.resolve(0, tmp_path, "a.toml: content")


def test_content_is_a_value() -> None:
    content = content_from_toml(BLEND)
    assert content == content_from_toml(BLEND)
    assert {Ratio({"lz4": 2.0, "zstd": 3.0}), content_from_toml(BLEND), Ratio({"zstd": 3.0, "lz4": 2.0})} == {
        Ratio({"lz4": 2.0, "zstd": 3.0}),
        content,
    }
    with pytest.raises(AttributeError):
        content.mix = ()  # type: ignore[union-attr,misc]
    assert msgspec.to_builtins(content_from_toml({"ratio": {"lz4": 2}})) == {"kind": "ratio", "ratio": {"lz4": 2.0}}


# What pages hold.


def test_simple_contents_hold_what_they_say() -> None:
    assert resolve("zero").bytes_of(5, 6) == bytes(4096)
    assert resolve({"same_filled": 0x42}).bytes_of(5, 6) == b"\x42" * 4096
    assert resolve({"same_filled": 0x1234}).bytes_of(5, 6) == b"\x34\x12\0\0\0\0\0\0" * 512
    assert len({resolve("random").bytes_of(page, 0) for page in range(64)}) > 32


def test_files_and_profiles_are_found_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"f" * 4096)
    pages = np.stack([np.zeros(4096, np.uint8), np.full(4096, 7, np.uint8)])
    write_profile(tmp_path / "p", pages, np.array([3, 1]), "a test")
    assert resolve({"file": "f"}, base=tmp_path).bytes_of(0, 0) == b"f" * 4096
    profile = resolve({"profile": "p"}, base=tmp_path)
    assert profile.weight.tolist() == [0.75, 0.25]
    assert {profile.bytes_of(page, 0) for page in range(100)} == {bytes(4096), b"\7" * 4096}


def test_a_profile_without_zeros_is_one_component(tmp_path: Path) -> None:
    write_profile(tmp_path / "p", np.full((2, 4096), 7, np.uint8), np.array([1, 1]), "a test")
    assert resolve({"profile": "p"}, base=tmp_path).weight.tolist() == [1]


def test_samples_have_the_shapes_they_promise() -> None:
    samples = resolve(BLEND)
    assert samples.pages.shape == (1 + 64 + 1 + 64, 4096)
    assert samples.first.tolist() == [0, 1, 65, 66]
    assert samples.count.tolist() == [1, 64, 1, 64]
    assert samples.weight.tolist() == [0.125, 0.25, 0.125, 0.5]
    assert [array.dtype for array in (samples.first, samples.count)] == [np.int32, np.int32]
    with pytest.raises(ValueError, match="read-only"):
        samples.pages[0, 0] = 1


@settings(max_examples=20)
@given(seed=st.integers(0, 1 << 63), weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_components_have_their_shares(seed: int, weights: list[float]) -> None:
    samples = resolve({"mix": [{"weight": weight, "content": "zero"} for weight in weights]}, seed)
    component = samples.component_of(np.arange(20000))
    assert component.dtype == np.uint8
    shares = np.bincount(component, minlength=len(weights)) / 20000
    expected = np.array(weights) / sum(weights)
    assert np.all(np.abs(shares - expected) < 6 * np.sqrt(expected * (1 - expected) / 20000) + 1e-3)


@given(seed=st.integers(0, 1 << 63), page=numbers, version=st.integers(0, 1 << 40))
def test_one_page_and_many_agree(seed: int, page: int, version: int) -> None:
    samples = resolve(BLEND, seed)
    component = int(samples.component_of([page])[0])
    sample = samples.sample_of(page, version)
    first, count = int(samples.first[component]), int(samples.count[component])
    assert sample == first + compiled_hash(page, version) % count
    assert samples.bytes_of(page, version) == samples.pages[sample].tobytes()


def test_a_page_stays_of_its_kind_but_changes() -> None:
    samples = resolve(BLEND)
    (page, *_) = np.flatnonzero(samples.component_of(np.arange(100)) == 1)
    rows = [samples.sample_of(int(page), version) for version in range(200)]
    assert set(rows) <= set(range(1, 65))
    assert len(set(rows)) > 50


def test_seeds_choose_other_components() -> None:
    pages = np.arange(1000)
    one, two = (resolve(BLEND, seed).component_of(pages) for seed in (1, 2))
    # Independent choices agree with probability 1/64 + 1/16 + 1/64 + 1/4.
    assert 0.25 < float(np.mean(one == two)) < 0.45
    assert resolve(BLEND, 1 << 32).component_of(pages).tolist() != resolve(BLEND, 0).component_of(pages).tolist()


def test_a_mix_cannot_take_all_memory(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(4096 * 4096)
    parts: list[dict[str, Any]] = [{"weight": 1, "content": {"file": "f"}}] * 4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("swaplab.scenario.content.MIX_SAMPLES_MAX", 10000)
        with pytest.raises(InputError, match=r"mix\[2\]: expected 10000 sample pages at most, found 12288"):
            resolve({"mix": parts}, base=tmp_path)


def test_profiles_in_a_mix_count_as_two_components(tmp_path: Path) -> None:
    pages = np.stack([np.zeros(4096, np.uint8), np.full(4096, 7, np.uint8)])
    write_profile(tmp_path / "p", pages, np.array([3, 1]), "a test")
    with pytest.raises(InputError, match="at most 255 components, found 256"):
        resolve({"mix": [{"weight": 1, "content": {"profile": "p"}}] * 128}, base=tmp_path)


def fingerprint() -> str:
    samples = resolve(BLEND, 42)
    return hashlib.sha256(b"".join(samples.bytes_of(page, page % 7) for page in range(300))).hexdigest()


FINGERPRINT = """
import hashlib
from pathlib import Path
from swaplab.scenario.content import content_from_toml
samples = content_from_toml(BLEND).resolve(42, Path())
print(hashlib.sha256(b"".join(samples.bytes_of(page, page % 7) for page in range(300))).hexdigest())
"""


def test_bytes_are_the_same_in_every_process() -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own code
        [sys.executable, "-c", FINGERPRINT.replace("BLEND", repr(BLEND))],
        env=os.environ | {"PYTHONHASHSEED": "12345"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.decode().strip() == fingerprint()
