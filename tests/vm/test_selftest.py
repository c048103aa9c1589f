"""The kernel's own test of zswap: what it prints is understood, and this harness lets a good kernel pass it."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.errors import InputError
from swaplab.vm import Kernel, LostGuestError
from swaplab.vm.selftest import Case, Listener, compile_selftest, run_selftest

# The first reads how much is stored, then how much of that is its child's, and fails if kswapd stored more in between;
# the second follows it, and failed in one run of thirteen.
DEPEND_ON_TIME = ("test_no_kmem_bypass", "test_no_invasive_cgroup_shrink")


def heard(*lines: str) -> Listener:
    listener = Listener(lambda: None, lambda: None)
    for line in lines:
        listener({"line": line})
    listener({"done": True})
    return listener


def test_results_are_read_with_what_was_printed_before_them() -> None:
    listener = heard("ok 1 a", "# zswpout does not increase", "not ok 2 b", "ok 3 # SKIP c", "status 1")
    assert listener.cases == [
        Case("a", "pass", ()),
        Case("b", "fail", ("zswpout does not increase",)),
        Case("c", "skip", ()),
    ]


@pytest.mark.parametrize("lines", [("ok 1 a", "status 139"), ("1..0 # SKIP zswap isn't configured", "status 4"), ()])
def test_a_test_that_does_not_come_to_its_end_is_lost(lines: tuple[str, ...]) -> None:
    with pytest.raises(LostGuestError, match="the test ended with status"):
        heard(*lines)


def test_a_source_without_the_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"selftests/cgroup/test_zswap\.c"):
        compile_selftest(tmp_path)


def test_a_good_kernel_passes(kernel: Kernel, source: Path) -> None:
    cases = run_selftest(kernel, source).cases
    assert [case.name for case in cases[5:]] == list(DEPEND_ON_TIME)
    assert {case.name: case.outcome for case in cases[:5]} == {
        "test_zswap_usage": "pass",
        "test_swapin_nozswap": "pass",
        "test_zswapin": "pass",
        "test_zswap_writeback_enabled": "pass",
        "test_zswap_writeback_disabled": "pass",
    }
