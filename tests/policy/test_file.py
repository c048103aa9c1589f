"""A policy's file: what it has to have, and one line for whatever is wrong with it."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swaplab.errors import InputError
from swaplab.policy import Policy, read_policy
from swaplab.policy.told import FUNCTIONS, POLICY

GUIDE = Path(__file__).parents[2] / "docs/guides/policy.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
GOOD = "def second_chance(entry, cgroup, pool):\n    return entry.referenced\n"


class Machine:
    """What a policy needs of a machine."""

    def __init__(self) -> None:
        self.policy: Any = np.zeros(1, POLICY).view(np.recarray)[0]
        self.rules = np.zeros(1, [("tag", "i8")])


def refusal(source: str) -> str:
    """What is said of a policy, up to when it is put into a machine."""
    with pytest.raises(InputError) as refused:
        Policy("p.py", source.encode()).put_into(Machine(), {})
    return str(refused.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def second_chance(entry:\n", "p.py:1: expected Python, found "),
        ("\0", "p.py:1: expected Python, found "),
        ("\nx = 1 / 0\n", "p.py:2: expected nothing raised in the file, found ZeroDivisionError: division by zero"),
        ("import no_such_module", "p.py:1: expected nothing raised in the file, found ModuleNotFoundError"),
        ("raise SystemExit", "p.py:1: expected nothing raised in the file, found SystemExit"),
        ("x = 1", "p.py: expected one of the functions accept_store, second_chance, may_write_back"),
        ("def second_chanse(entry, cgroup, pool): pass", "p.py:1: expected a function of a policy (accept_store, "),
        (
            "\ndef second_chance(entry): pass",
            "p.py:2: expected second_chance(entry, cgroup, pool), found second_chance(entry)",
        ),
        ("TAGS = {1: 2}\n" + GOOD, "p.py: TAGS: expected whole numbers by cgroups' paths, found {1: 2}"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_a_line(source: str, said: str) -> None:
    assert refusal(source).startswith(said)


def test_what_does_not_compile_is_said_with_its_line() -> None:
    source = "def second_chance(entry, cgroup, pool):\n    x = 1\n    return entry.size > x\n"
    said = refusal(source)
    assert said.startswith("p.py:3: expected what numba compiles, in second_chance, found Unknown attribute 'size'")
    assert "\n" not in said


def test_an_answer_of_another_type_is_refused() -> None:
    said = refusal("def worker_preference(cgroup, pool):\n    return cgroup.entries / 2\n")
    assert said == "p.py:1: expected a whole number from worker_preference, found float64"
    assert refusal(GOOD.replace("entry.referenced", "1")).startswith(
        "p.py:1: expected True or False from second_chance, found "
    )


@pytest.mark.parametrize("source", EXAMPLES)
def test_the_guides_examples_compile(source: str) -> None:
    machine = Machine()
    Policy("example.py", source.encode()).put_into(machine, {})
    assert machine.policy.is_there


def test_another_process_has_the_same() -> None:
    policy = Policy("p.py", GOOD.encode())
    other = pickle.loads(pickle.dumps(policy))  # noqa: S301 - its own
    assert other.name == policy.name
    assert str(policy.name).startswith("p.py (sha256 ")


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text(GOOD)
    assert read_policy(path).name == Policy("elsewhere/p.py", GOOD.encode()).name
    path.write_bytes(b"#" * (1 << 20 | 1))
    with pytest.raises(InputError, match="at most 1,048,576 bytes"):
        read_policy(path)


def test_the_record_has_a_place_for_each_function() -> None:
    assert POLICY.names is not None
    assert {each.name for each in FUNCTIONS} < {*POLICY.names}
