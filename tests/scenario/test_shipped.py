"""What ships is there wherever one is; what one has oneself comes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from swaplab.scenario import shipped as module
from swaplab.scenario.load import load_scenario
from swaplab.scenario.shipped import shipped

DEMO = Path("scenarios/demo.toml")


def test_the_demo_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_scenario(shipped(DEMO)).name == "a database and an index"
    assert len([*shipped(Path("scenarios/fidelity")).glob("truth/*/*.json")]) > 50
    DEMO.parent.mkdir()
    DEMO.touch()
    assert shipped(DEMO) == DEMO


def test_what_pip_has_installed_is_in_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "swaplab/scenarios").mkdir(parents=True)
    (tmp_path / "swaplab" / DEMO).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_PLACES", (tmp_path / "swaplab", tmp_path))
    assert shipped(DEMO) == tmp_path / "swaplab" / DEMO


@pytest.mark.parametrize(
    "name", ["demo.toml", "scenarios/none.toml", "scenarios/../pyproject.toml", "/scenarios/demo.toml", ""]
)
def test_anything_else_is_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped(Path(name)) == Path(name)
