"""``swaplab check`` as a user has it."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import swaplab as swaplab_package
from swaplab.errors import InputError
from swaplab.explore.program import NO_ASSERTIONS
from swaplab.kernel import sync
from swaplab.races.cases import How, fingerprint, judge
from swaplab.races.schedules import encode, load, replay

RACE = """
from swaplab import Program
from swaplab.kernel.sync import READ_ONCE, WRITE_ONCE, Shared, SpinLock


class Counter(Shared):
    value: int

    def __init__(self):
        self.lock = SpinLock(self, "lock")
        self.value = 0


def with_lock(counter):
    with counter.lock:
        counter.value += 1


def without_lock(counter):
    WRITE_ONCE(counter).value = READ_ONCE(counter).value + 1


def program(task, control=None):
    counted = {"both were counted": lambda counter: counter.value == 2}
    return Program(task.__name__, Counter, {"CPU0": task, "CPU1": task}, counted, control)
"""


def swaplab(*arguments: str | Path, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from swaplab.cli import main; main()", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)  # noqa: S603


@pytest.fixture
def race(tmp_path: Path) -> Path:
    path = tmp_path / "my_race.py"
    path.write_text(f"{RACE}\nbroken = program(without_lock)\n")
    return path


def test_a_race_of_ones_own(race: Path, tmp_path: Path) -> None:
    found = swaplab("my_race.py", "-o", "race.json", directory=tmp_path)
    assert found.returncode == 1
    assert "without_lock: VIOLATED: invariant broken" in found.stdout
    diagram = found.stdout[found.stdout.index("CPU0") : found.stdout.index("both were counted")]
    assert diagram.splitlines()[2:7] == [
        "without_lock(Counter)",
        "  read Counter.value = 0",
        "                           without_lock(Counter)",
        "                             read Counter.value = 0",
        "                             write Counter.value = 1",
    ]
    (elsewhere := tmp_path / "elsewhere").mkdir()
    again = swaplab("../my_race.py", "--replay", "../race.json", directory=elsewhere)
    assert again.returncode == 1
    assert diagram in again.stdout


def test_the_guide_shows_what_is_printed(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/check.md").read_text()
    (tmp_path / "my_race.py").write_text(guide.partition("```python\n")[2].partition("```")[0])
    shown = guide.partition("$ swaplab check my_race.py\n")[2].partition("```")[0]
    assert swaplab("my_race.py", directory=tmp_path).stdout.strip() == shown.strip()


def test_the_guide_spells_what_there_is(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/check.md").read_text()
    (path := tmp_path / "all.py").write_text("\n".join(re.findall(r"^```python\n(.*?)^```", guide, re.DOTALL | re.M)))
    assert "explore(program(" in path.read_text()
    runpy.run_path(str(path))
    for spelled in re.findall(r"`(swaplab(?:\.\w+)+)[`(]", guide):
        assert eval(spelled, {"swaplab": swaplab_package}), spelled  # noqa: S307 - it is our own


def test_the_guide_names_the_operations_of_every_part() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/check.md").read_text()
    rows = re.findall(r"^  \| (`.*?) \| (.*) \|$", guide, re.M)
    told = {part: set(re.findall(r"`(\w+)`", row)) for parts, row in rows for part in re.findall(r"`(\w+)`", parts)}
    assert {
        "SpinLock",
        "Mutex",
        "Atomic",
        "Pointer",
        "PercpuRef",
        "ListHead",
        "ListNode",
        "XArray",
        "Table",
    } == told.keys()
    for part, names in told.items():
        there = {name for name in dir(getattr(sync, part)) if not name.startswith("_")}
        assert names - {"with", "for", "_locked"} <= there, part


def test_a_schedule_runs_what_the_command_line_names(race: Path, tmp_path: Path) -> None:
    swaplab("my_race.py", "-o", "race.json", directory=tmp_path)
    (tmp_path / "other.py").write_text(race.read_text() + "# and more\n")
    for target in ("other.py", "offline"):
        found = swaplab(target, "--replay", "race.json", directory=tmp_path)
        assert found.returncode == 2
        assert "race.json: expected schedules of" in found.stderr
        assert "found one of my_race.py as it was" in found.stderr
    found = swaplab("--replay", "race.json", directory=tmp_path)
    assert found.returncode == 2
    assert "expected at least one, or --all, found none" in found.stderr
    found = swaplab("my_race.py", "--replay", "race.json", "--only", "nonsense", directory=tmp_path)
    assert found.returncode == 2
    assert "race.json" in found.stderr


def test_schedules_of_an_exhibit(tmp_path: Path) -> None:
    swaplab("double-invalidate", "-o", "found.json", directory=tmp_path)
    found = swaplab("double-invalidate", "--replay", "found.json", "--json", directory=tmp_path)
    assert found.returncode == 0
    shown = json.loads(found.stdout)
    assert [each["label"].partition(":")[0] for each in shown] == ["broken"] * len(shown)
    assert len(shown) == 2
    assert {each["kind"] for each in shown} == {"use after free"}


def test_all_that_breaks_or_the_first(tmp_path: Path) -> None:
    name = "async-free-vs-migration"
    found = swaplab(name, "--only", "as they come", "--json", directory=tmp_path)
    everything = json.loads(found.stdout)[0]["verdict"]["violations"]
    assert len({(each["kind"], each["sentence"]) for each in everything}) == len(everything) > 1
    shown = swaplab(name, "--only", "as they come", directory=tmp_path).stdout
    assert all(" ".join(each["sentence"].split()) in " ".join(shown.split()) for each in everything)
    assert "More may break" not in shown
    first = swaplab(name, "--only", "as they come", "--first", directory=tmp_path).stdout
    assert first.count("=> ") == 2, "one of each program"
    assert first.count("More may break: not everything was run (the first that was found).") == 2


def test_nothing_to_write(tmp_path: Path) -> None:
    (tmp_path / "sound.py").write_text(f"{RACE}\nsound = program(with_lock)\n")
    found = swaplab("sound.py", "-o", "race.json", directory=tmp_path)
    assert found.returncode == 0
    assert "holds, complete" in found.stdout
    assert found.stderr == "swaplab: race.json: not written, since nothing broke\n"
    assert not (tmp_path / "race.json").exists()


def test_modules_beside_the_file(race: Path, tmp_path: Path) -> None:
    for name, task in (("one", "with_lock"), ("other", "without_lock")):
        (folder := tmp_path / name).mkdir()
        (folder / "beside.py").write_text(RACE)
        (folder / "mine.py").write_text(f"import beside\n\n{name} = beside.program(beside.{task})\n")
    (tmp_path / "other/beside.py").write_text(RACE + "\nOTHER = True\n")
    (tmp_path / "other/mine.py").write_text("from beside import *\n\nassert OTHER\nother = program(without_lock)\n")
    found = swaplab("one/mine.py", "other/mine.py", "-j", "1", directory=tmp_path)
    assert "with_lock: holds, complete" in found.stdout, found.stderr
    assert "without_lock: VIOLATED" in found.stdout
    assert found.returncode == 1


def test_a_list_of_programs(tmp_path: Path) -> None:
    (tmp_path / "many.py").write_text(f"{RACE}\nthey = [program(with_lock), program(without_lock)]\nfirst = they[0]\n")
    found = swaplab("many.py", "--json", directory=tmp_path)
    assert [each["label"] for each in json.loads(found.stdout)] == ["with_lock", "without_lock"]


@pytest.mark.parametrize("seed", [None, "7"])
def test_texts_hash_alike_in_every_run(race: Path, seed: str | None) -> None:
    race.write_text(f"{race.read_text()}print(hash('a'))\n")
    others = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    plain = subprocess.run(
        [sys.executable, "-c", "print(hash('a'))"],
        capture_output=True,
        text=True,
        check=True,
        env=others | {"PYTHONHASHSEED": seed or "0"},
    )
    checked = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "swaplab", "check", race, "-j", "1", "--first"],
        capture_output=True,
        text=True,
        check=False,
        env=others | ({"PYTHONHASHSEED": seed} if seed else {}),
    )
    assert plain.stdout in checked.stderr


def test_same_bytes(race: Path, tmp_path: Path) -> None:
    found = [swaplab("my_race.py", "--json", directory=tmp_path).stdout for _ in range(2)]
    verdicts = [json.loads(each)[0]["verdict"] for each in found]
    assert verdicts[0] == verdicts[1]
    assert verdicts[0]["type"] == "violated"


PRINTS = """
import os
import subprocess
import sys

print("printed")


class Loud(Counter):
    def __init__(self):
        super().__init__()
        sys.__stdout__.write("printed")


def loud(counter):
    os.write(1, b"printed")
    without_lock(counter)


they = [Program(name, Loud, {"CPU0": loud, "CPU1": loud}, {"two": lambda _: print("printed") or True}) for name in "ab"]
subprocess.run(["echo", "printed"])
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_what_programs_print_is_no_part_of_the_report(tmp_path: Path, processes: str) -> None:
    (tmp_path / "loud.py").write_text(RACE + PRINTS)
    found = swaplab("loud.py", "--json", "-j", processes, directory=tmp_path)
    assert [each["label"] for each in json.loads(found.stdout)] == ["a", "b"]
    assert found.returncode == 0
    assert "printed" in found.stderr
    again = swaplab("loud.py", "-j", processes, "-o", "loud.json", directory=tmp_path)
    assert "printed" not in again.stdout
    assert "holds, complete" in again.stdout


def test_holds_with_its_control(tmp_path: Path) -> None:
    path = tmp_path / "sound.py"
    path.write_text(f"{RACE}\nsound = program(with_lock, program(without_lock))\n")
    found = swaplab(path, directory=tmp_path)
    assert found.returncode == 0
    assert "with_lock: holds, complete (2 executions" in found.stdout
    assert "CPU0: spin_lock Counter.lock  <->  CPU1: spin_lock Counter.lock" in found.stdout
    assert "without_lock: VIOLATED" in found.stdout


EXITS = """
import os
import sys


def leave(_):
    sys.exit(0)


def vanish(_):
    os._exit(0)


def replace(_):
    os.execv("/bin/true", ["true"])


def sound(counter):
    with_lock(counter)


"""


@pytest.mark.parametrize(
    ("exit", "where"),
    [
        ("leave", "Program('exits', Counter, {'CPU0': with_lock, 'CPU1': leave})"),
        ("vanish", "Program('exits', Counter, {'CPU0': with_lock, 'CPU1': vanish})"),
        ("vanish", "Program('exits', Counter, {'CPU0': vanish, 'CPU1': with_lock}); other = program(with_lock)"),
        ("leave", "Program('exits', lambda: leave(0), {'CPU0': with_lock})"),
        ("vanish", "Program('exits', Counter, {'CPU0': with_lock, 'CPU1': with_lock}, {'never': vanish})"),
        ("leave", "leave(0)"),
        ("vanish", "vanish(0)"),
        ("replace", "Program('exits', Counter, {'CPU0': with_lock, 'CPU1': replace})"),
        ("replace", "Program('exits', Counter, {'CPU0': with_lock, 'CPU1': with_lock}, {'never': replace})"),
        ("replace", "replace(0)"),
    ],
)
def test_no_status_without_a_verdict(tmp_path: Path, exit: str, where: str) -> None:
    (tmp_path / "exits.py").write_text(f"{RACE}{EXITS}exits = {where}\n")
    found = swaplab("exits.py", directory=tmp_path)
    assert found.returncode == 2
    said = {
        "leave": "SystemExit",
        "vanish": "ends the process by os._exit",
        "replace": "replaces the process by os.exec",
    }
    assert said[exit] in found.stderr
    assert "exits.py, line" in found.stderr
    assert len(found.stderr.splitlines()) == 1


GONE = f"""{RACE}


def gone(counter):
    import faulthandler
    with_lock(counter)
    faulthandler._sigabrt()


one, other, third = program(gone), program(with_lock), program(without_lock)
"""


def test_a_process_that_explores_and_is_no_more(tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text(GONE)
    found = swaplab("gone.py", "-j", "2", directory=tmp_path)
    assert found.returncode == 2
    assert found.stderr == "swaplab: gone: the process that explored it was ended, by the program or from outside\n"
    assert "with_lock: holds, complete" in found.stdout
    assert "without_lock: VIOLATED" in found.stdout
    found = swaplab("gone.py", "-j", "1", directory=tmp_path)
    said = (
        "swaplab: the process that explores was ended by SIGABRT, before all was said: by a program, or from outside\n"
    )
    assert (found.returncode, found.stdout, found.stderr) == (2, "", said)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_others_have_a_verdict_beside_a_mistake(tmp_path: Path, jobs: str) -> None:
    mistakes = "def leave(counter):\n    with_lock(counter)\n    raise ValueError('mine')\n"
    several = "one, other, third = program(leave), program(with_lock), program(without_lock)\n"
    (tmp_path / "several.py").write_text(f"{RACE}\n\n{mistakes}\n\n{several}")
    found = swaplab("several.py", "-j", jobs, "--json", directory=tmp_path)
    assert found.returncode == 2
    assert "leave: ValueError in the program itself: mine" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    verdicts = {each["label"]: each["verdict"]["type"] for each in json.loads(found.stdout)}
    assert verdicts == {"with_lock": "holds", "without_lock": "violated"}


def test_assertions_have_to_be_there(race: Path) -> None:
    command = [sys.executable, "-O", "-c", "from swaplab.cli import main; main()", "check", str(race)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert found.returncode == 2
    assert found.stderr.splitlines() == [f"swaplab: {race}: {NO_ASSERTIONS}"]


def test_a_control_that_holds_fails(tmp_path: Path) -> None:
    path = tmp_path / "toothless.py"
    path.write_text(f"{RACE}\nsound = program(with_lock, program(lambda counter: with_lock(counter)))\n")
    found = swaplab(path, directory=tmp_path)
    assert found.returncode == 1
    assert "not what was expected" in found.stdout


def test_bounded(race: Path, tmp_path: Path) -> None:
    race.write_text(f"{RACE}\nsound = program(with_lock)\n")
    found = swaplab(race, "--executions", "1", directory=tmp_path)
    assert found.returncode == 3
    assert "bounded: 1 executions" in found.stdout
    assert "both orders" not in found.stdout


def test_an_exhibit(tmp_path: Path) -> None:
    found = swaplab("walker-skip-after-unlock", directory=tmp_path)
    assert found.returncode == 0
    assert "VIOLATED: use after free" in found.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "expected a variable that is a swaplab.Program, or a list or dict of them, found none"),
        (
            f"{RACE}\nx = [program(with_lock), program(with_lock)]\n",
            "wrong.py: expected programs with names of their own, found 2 of the name 'with_lock'",
        ),
        (
            f"{RACE}\nx = program(with_lock)\nx = program(without_lock)\n",
            "line 27: expected a variable for each program, or a list or dict of them, found with_lock in none",
        ),
        ("x = \n", "expected Python that runs, found SyntaxError"),
        ("\n1 / 0\n", "line 2: expected Python that runs, found ZeroDivisionError"),
        (f"{RACE}\nx = Program(3, Counter, {{}})\n", "wrong.py, line 27: expected of a program's name a text, found 3"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wrong.py").write_text(text)
    found = swaplab("wrong.py", directory=tmp_path)
    assert found.returncode == 2
    assert message in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize("end", ["sys.stdout.close()", "sys.stderr = None"])
def test_what_a_program_makes_of_its_streams_is_not_for_what_is_said_of_it(tmp_path: Path, end: str) -> None:
    (tmp_path / "quiet.py").write_text(f"import sys\n{end}\n")
    found = swaplab("quiet.py", directory=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith("swaplab: quiet.py: expected a variable that is a swaplab.Program")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected at least one, or --all, found none"),
        (["nonsense"], "found nonsense"),
        (["missing.py"], "expected a Python file, found no such file"),
        (["walker-skip-after-unlock", "--executions", "0"], "expected at least 1, found 0"),
        (["my_race.py", "--replay", "my_race.py"], "my_race.py: expected schedules that swaplab check -o wrote"),
        (
            ["my_race.py", "--replay", "a.json"],
            "a.json: expected schedules that swaplab check -o wrote, found no such file",
        ),
        (["my_race.py", "--replay", "."], ".: expected a regular file, found ., which is a directory"),
    ],
)
def test_bad_input(race: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    found = swaplab(*arguments, directory=tmp_path)
    assert found.returncode == 2
    assert message in found.stderr


def test_a_schedule_that_does_not_fit(race: Path, tmp_path: Path) -> None:
    swaplab("my_race.py", "-o", "race.json", directory=tmp_path)
    schedules = json.loads((tmp_path / "race.json").read_text())
    schedules[0]["schedule"]["choices"] = [0, 7]
    (tmp_path / "race.json").write_text(json.dumps(schedules))
    found = swaplab("my_race.py", "--replay", "race.json", directory=tmp_path)
    assert found.returncode == 2
    assert "race.json: the schedule does not fit: step 1 can be of 0 (CPU0), 1 (CPU1), and it says 7" in found.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda all: all[0]["schedule"]["choices"].clear(),
            "both were counted, found one of without_lock that comes to no",
        ),
        (
            lambda all: all[0]["schedule"]["choices"].pop(),
            "found one of without_lock that comes to nothing that breaks",
        ),
        (lambda all: all[0]["schedule"].update(choices=[0, 0, 1, 1]), "that comes to nothing that breaks"),
        (
            lambda all: all[0].update(kind="leak"),
            "leak: both were counted, found one of without_lock that comes to inv",
        ),
        (
            lambda all: all[0].update(sentence="x"),
            "broken: x, found one of without_lock that comes to invariant broken: b",
        ),
        (lambda all: all.clear(), "expected schedules that swaplab check -o wrote, found none"),
    ],
)
def test_a_schedule_comes_to_what_its_file_says(tmp_path: Path, change: Callable[[Any], object], message: str) -> None:
    (target := tmp_path / "my_race.py").write_text(f"{RACE}\nbroken = program(without_lock)\n")
    file = tmp_path / "race.json"
    file.write_bytes(encode([judge(str(target), 0, How())]))
    prints = {str(target): fingerprint(str(target))}
    assert [replay(file, each, prints).bug.title for each in load(file)] == ["invariant broken"]
    schedules = json.loads(file.read_text())
    change(schedules)
    file.write_text(json.dumps(schedules))
    with pytest.raises(InputError, match=r"race\.json: expected schedules") as found:
        replay(file, load(file)[0], prints)
    assert message in str(found.value)


def test_a_schedule_is_of_what_the_program_imports_too(tmp_path: Path) -> None:
    for package in (tmp_path / "beside", tmp_path / "space"):
        package.mkdir()
    (tmp_path / "beside/__init__.py").write_text(RACE)
    (tmp_path / "space/deep.py").write_text("")
    (tmp_path / "other.py").write_text("")
    (target := tmp_path / "my_race.py").write_text(
        "import beside, space.deep\nx = beside.program(beside.without_lock)\n"
    )
    (tmp_path / "another.py").write_text("import other\nfrom my_race import x\n")
    before = fingerprint(str(target))
    fingerprint(str(tmp_path / "another.py"))
    assert fingerprint(str(target)) == before, "another program of the folder imports more"
    (tmp_path / "other.py").write_text("#")
    assert fingerprint(str(target)) == before, "nothing to do with it"
    for name in ("my_race.py", "beside/__init__.py", "space/deep.py"):
        (path := tmp_path / name).write_text(path.read_text() + "# and more\n")
        assert fingerprint(str(target)) != before, name
        before = fingerprint(str(target))


@pytest.mark.parametrize("jobs", ["-1", "0", "100000"])
def test_so_many_processes_are_refused(jobs: str, tmp_path: Path) -> None:
    found = swaplab("offline", "-j", jobs, directory=tmp_path)
    assert found.returncode == 2
    assert found.stderr == f"swaplab: -j: expected 1 to 1024, found {jobs}\n"


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/"])
def test_schedules_are_read_from_files_only(path: str, tmp_path: Path) -> None:
    found = swaplab("offline", "--replay", path, directory=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith(f"swaplab: {path}: expected ")
    assert found.stderr.count("\n") == 1
