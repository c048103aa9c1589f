"""QEMU's command line, and the probe that decides on KVM. QEMU is a script here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swaplab.errors import SwaplabError
from swaplab.vm import qemu
from swaplab.vm.memory import MIB, Sizes
from swaplab.vm.qemu import Accelerator, Disks, command_line, find_accelerator, find_qemu, quiet_command_line


def test_the_command_line() -> None:
    disks = Disks(Path("i"), Path("with,comma"), Path("s"))
    command = command_line("qemu", Path("bzImage"), "tcg", 200 * MIB, disks)
    assert command[0] == "qemu"
    text = " ".join(command)
    for part in (
        "-accel tcg -cpu max,cx16=off",
        "-smp 1 -m 200M",
        "-kernel bzImage",
        "-initrd i",
        "-nodefaults",
        "-no-reboot",
    ):
        assert part in text
    assert "readonly=on,file=with,,comma" in text
    assert text.index("drive=trace") < text.index("drive=swap"), "they are vda and vdb"


def test_without_swap_there_is_no_disk_for_it() -> None:
    command = command_line("qemu", Path("k"), "kvm", MIB, Disks(Path("i"), Path("t"), None))
    assert sum(each.startswith("virtio-blk") for each in command) == 1
    assert "host" in command


def quiet(accelerator: Accelerator) -> str:
    sizes = Sizes(300 * MIB, 270 * MIB, 20)
    return " ".join(quiet_command_line("qemu", Path("k"), accelerator, sizes, Path("i"), Path("turns.so")))


def test_an_emulated_guest_has_nothing_of_the_hosts() -> None:
    command = quiet("tcg")
    assert command.startswith("env LD_PRELOAD=turns.so qemu ")
    for part in ("-icount shift=0,sleep=off,align=off", "clock=vm", "rdrand=off", "-m 570M", "isa-debugcon"):
        assert part in command
    assert "virtio" not in command
    assert "drive" not in command


def test_under_kvm_time_is_the_hosts() -> None:
    command = quiet("kvm")
    assert command.startswith("qemu ")
    assert "-icount" not in command


def test_the_disk_is_in_a_node_of_its_own() -> None:
    assert "id=node0,size=314572800 -numa node,nodeid=0,memdev=node0" in quiet("tcg")
    assert "id=node1,size=283115520 -numa node,nodeid=1,memdev=node1" in quiet("tcg")


def test_qemu_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SwaplabError, match="apt-get install qemu-system-x86"):
        find_qemu()


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'Kernel panic - not syncing' >&2", "kvm"),
        ("echo 'KVM internal error' >&2", "tcg"),
        ("echo 'Kernel panic - not syncing' >&2; kill -9 $$", "tcg"),
        ("exec sleep 60", "tcg"),
    ],
)
def test_kvm_is_used_where_this_kernel_runs_under_it(
    script: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "qemu"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(os, "access", lambda *_: True)
    monkeypatch.setattr(qemu, "PROBE_SECONDS", 0.5)
    assert find_accelerator(str(path), Path("bzImage")) == found


def test_kvm_is_not_tried_where_it_may_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert find_accelerator("this is not run", Path("bzImage")) == "tcg"
