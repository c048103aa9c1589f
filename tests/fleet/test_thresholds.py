from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from swaplab.errors import InputError
from swaplab.fleet import histograms
from swaplab.fleet.histograms import read_histograms
from swaplab.fleet.thresholds import Aim, Finding, Tally, findings

AIM = Aim(promotions=0.002, share=0.98, ratio=4.0, compressible=0.5)
HEAD = "machine,class,job,time,cold_0,cold_120,cold_480,promotions_120,promotions_480"


def file(path: Path, rows: Sequence[str], head: str = HEAD) -> Path:
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


def told(path: Path, aim: Aim = AIM) -> list[Finding]:
    with read_histograms(path) as found:
        tally = Tally(found.ages, aim)
        for rows in found.rows:
            tally.add(rows)
    return findings(tally)


def test_by_hand(tmp_path: Path) -> None:
    """10 minutes: at most 0.002 x 1000 x 10 = 20 promotions. From 120 s on there are 25, from 480 s on 20."""
    path = file(tmp_path / "f", ["m,web,a,0,1000,0,0,0,0", "m,web,a,600,1000,300,200,5,20"])
    web, overall = told(path)
    assert overall == overall._replace(kind="")
    assert (web.kind, web.threshold, web.losers, web.machines, web.jobs) == ("web", 480, [], 1, 1)
    assert web.memory == 1500 * 4096
    assert web.saved == 200 * 4096 * 0.5 * (1 - 1 / 4)
    assert list(web.by_machine) == [web.saved / web.memory]


def test_a_share_of_the_time_may_have_more(tmp_path: Path) -> None:
    rows = ["m,x,a,0,1000,9,9,0,0"]
    rows += [f"m,x,a,{60 * i},1000,9,9,{3 if i == 50 else 0},0" for i in range(1, 101)]
    path = file(tmp_path / "f", rows)
    assert told(path)[0].threshold == 120
    assert told(path, AIM._replace(share=0.995))[0].threshold == 480


def test_who_loses_and_by_how_much(tmp_path: Path) -> None:
    """Of 50 jobs one never keeps it, and needs no threshold at all."""
    rows = [f"m{i},x,j,{time},1000,10,10,{0 if i else 99},{0 if i else 99}" for i in range(50) for time in (0, 60)]
    (overall, _) = told(file(tmp_path / "f", rows))
    assert overall.threshold == 120
    assert overall.losers == [("x", "m0", "j", 1.0, None)]
    assert told(file(tmp_path / "f", rows), AIM._replace(share=1.0))[0].threshold is None


def test_a_machine_is_seen_as_long_as_its_jobs(tmp_path: Path) -> None:
    """Two jobs, one after the other, are not there twice."""
    rows = ["m,x,a,0,100,100,0,0,0", "m,x,a,600,100,100,0,0,0", "m,x,b,600,100,100,0,0,0", "m,x,b,1200,100,100,0,0,0"]
    found = told(file(tmp_path / "f", rows))[0]
    assert (found.machines, found.jobs, found.memory) == (1, 2, 200 * 4096)


def test_a_row_may_say_how_it_compresses(tmp_path: Path) -> None:
    head = "job,time,ratio,compressible,cold_0,cold_120,promotions_120"
    rows = ["a,0,2,1,100,100,0", "a,60,2,1,100,100,0"]
    (found,) = told(file(tmp_path / "f", rows, head))
    assert found.saved == 100 * 4096 / 2


def random_rows(seed: int, count: int) -> list[str]:
    random = np.random.default_rng(seed)
    times: dict[int, int] = {}
    rows = []
    for _ in range(count):
        job = int(random.integers(5))
        times[job] = times.get(job, 0) + int(random.integers(1, 600))
        numbers = [*random.integers(1, 5000, 3), *random.integers(0, 40, 2)]
        rows.append(f"m{job % 3},{'ab'[job % 2]},j{job},{times[job]}," + ",".join(map(str, numbers)))
    return rows


def by_rule(rows: Sequence[str], kind: str) -> int | None:
    """The threshold of a class, job by job and row by row."""
    parsed = list(csv.DictReader(io.StringIO("\n".join([HEAD, *rows]))))
    needs = []
    for job in {row["job"] for row in parsed if kind in ("", row["class"])}:
        own = [
            {key: int(value) for key, value in row.items() if key[-1].isdigit() or key == "time"}
            for row in parsed
            if row["job"] == job
        ]
        spans = [(row, row["time"] - before["time"]) for before, row in pairwise(own)]
        backs = {480: [row["promotions_480"] for row, _ in spans]}
        backs[120] = [row["promotions_120"] + row["promotions_480"] for row, _ in spans]
        need: int | None = None
        for age, counts in backs.items():
            each = zip(counts, spans, strict=True)
            over = sum(s for count, (row, s) in each if count * 60 / s > AIM.promotions * row["cold_0"])
            if over <= (1 - AIM.share) * sum(s for _, s in spans):
                need = age
        needs += [need] if spans else []
    return sorted(needs, key=lambda need: (need is None, need))[-(-98 * len(needs) // 100) - 1]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_the_rule_says(seed: int, tmp_path: Path) -> None:
    rows = random_rows(seed, 60)
    for found in told(file(tmp_path / "f", rows)):
        assert found.threshold == by_rule(rows, found.kind)


@pytest.mark.parametrize("as_text", [False, True])
def test_parquet_says_the_same_in_batches_of_any_size(
    as_text: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file(tmp_path / "f.csv", random_rows(1, 60))
    table = pa_csv.read_csv(path)
    if as_text:
        table = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))
    pq.write_table(table, tmp_path / "f.parquet")
    monkeypatch.setattr(histograms, "BATCH_ROWS", 7)
    for one, other in zip(told(tmp_path / "f.parquet"), told(path), strict=True):
        assert one[:6] == pytest.approx(other[:6])
        assert one.losers == pytest.approx(other.losers)
        assert np.allclose(one.by_machine, other.by_machine)


GOOD = "m,x,a,0,1,2,3,4,5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: expected columns job, machine"),
        ("job,time\na,0", "line 1: expected a column cold_0"),
        ("job,time,cold_0,cold_120\na,0,1,1", "line 1: expected a column promotions_SECONDS.*found no promotions_120"),
        (f"{HEAD},promotions_9\n{GOOD},1", "found promotions_9 without that"),
        (f"{HEAD},job\n{GOOD},a", "each column once, found job twice"),
        (f"{HEAD},colour\n{GOOD},a", "found 'colour'"),
        (f"{HEAD}\n{GOOD}\nm,x,a,60,1,2,3,4", "line 3: expected 9 columns"),
        (f"{HEAD}\n{GOOD}\n\n{GOOD}", "line 3: job: expected a name.*found ''"),
        (f"{HEAD}\n{GOOD}\nm,x,a,60,1,-2,3,4,5", "line 3: cold_120: expected a number of pages.*found '-2'"),
        (f"{HEAD}\n{GOOD}\nm,x,a,60,1,2.5,3,4,5", "line 3: cold_120"),
        (f"{HEAD}\n{GOOD}\nm,x,a,60,1,{10**17},3,4,5", "line 3: cold_120: .*found 100000000000000000"),
        (f"{HEAD}\n{GOOD}\nm,x,a,nan,1,2,3,4,5", "line 3: time: expected a number from 0"),
        (f"{HEAD}\n{GOOD}\nm,x,,60,1,2,3,4,5", "line 3: job: expected a name"),
        (f"{HEAD}\n{GOOD}\nm,x,a\x1b[2J,60,1,2,3,4,5", "line 3: job: expected a name"),
        (f"{HEAD}\n{GOOD}\n{GOOD}", "line 3: time: expected a time after that of the job's row before, found 0 of a"),
        ("job,time,ratio,cold_0,cold_120,promotions_120\na,0,0.5,1,1,1", "line 2: ratio: expected a number from 1"),
    ],
)
def test_what_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(text)
    with pytest.raises(InputError, match=said) as error:
        told(tmp_path / "f")
    assert str(error.value).startswith(f"{tmp_path}/f: ")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([1, None]), "row 2: cold_120.*found None"),
        (pa.array([1.5, 2.0]), "row 1: cold_120.*found 1.5"),
        (pa.array([1, -1]), "row 2: cold_120.*found -1"),
        (pa.array([[1], [2]]), "row 1: cold_120"),
    ],
)
def test_what_is_refused_of_parquet(column: pa.Array, said: str, tmp_path: Path) -> None:
    table = pa.table(
        {"job": ["a", "a"], "time": [0, 60], "cold_0": [1, 1], "cold_120": column, "promotions_120": [0, 0]}
    )
    pq.write_table(table, tmp_path / "f")
    with pytest.raises(InputError, match=said):
        told(tmp_path / "f")


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    """Wherever it is: Arrow has several errors for that."""
    path = tmp_path / "f"
    others = {"job": ["a", "a"], "time": [0, 60], "cold_0": [1, 1], "cold_120": [1, 1], "promotions_120": [0, 0]}
    pq.write_table(pa.table(others), path)
    whole = path.read_bytes()
    refused = 0
    for at in range(4, len(whole), 16):
        path.write_bytes(whole[:at] + bytes(2) + whole[at + 2 :])
        try:
            told(path)
        except InputError as error:
            assert str(error).startswith(str(path))  # noqa: PT017 - it need not be damaged
            refused += 1
    assert refused > 20
