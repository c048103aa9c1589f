"""Imports run one way, whether they stand at the top of a module or inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
BELOW = {
    "process": [],
    "text": [],
    "notebook": [],
    "errors": ["text"],
    "files": ["process"],
    "cache": ["errors", "files"],
    "linux": [],
    "compress": ["cache", "linux"],
    "kernel": ["compress"],
    "scenario": ["compress"],
    "explore": ["kernel", "scenario", "notebook"],
    "result": ["scenario", "notebook"],
    "policy": ["result"],
    "replay": ["policy"],
    "vm": ["result"],
    "study": ["replay"],
    "fleet": ["study"],
    "host": ["scenario"],
    "doctor": ["scenario"],
    "races": ["explore", "kernel"],
    "fidelity": ["replay", "vm"],
    "report": ["explore", "replay", "vm", "host", "doctor", "races", "fidelity", "study", "fleet"],
    "cli": ["report"],
    "__main__": ["cli"],
}
"""What each package stands on; it may import that, and whatever that stands on."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def layer(module: str) -> str:
    """The part of the house that a module is in; the root package, which only has the version, is none."""
    return [*module.split("."), ""][1]


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules of this project that a module's source imports, anywhere in it."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            found = name if name in MODULES else name.rpartition(".")[0]
            if found in MODULES:
                yield found


IMPORTS = {module: set(imports(ast.parse(path.read_text()))) for module, path in MODULES.items()}


def reachable(name: str) -> set[str]:
    return {name}.union(*(reachable(each) for each in BELOW[name]))


def test_every_package_has_its_place() -> None:
    assert {layer(module) for module in MODULES} - {""} <= set(BELOW)


@pytest.mark.parametrize("module", [module for module in MODULES if layer(module)])
def test_imports_run_one_way(module: str) -> None:
    found = {layer(each) for each in IMPORTS[module]} - {""}
    assert found <= reachable(layer(module))


def test_engines_do_not_know_each_other() -> None:
    for engine in ("explore", "replay", "vm", "host", "kernel"):
        assert not reachable(engine) & {"explore", "replay", "vm", "host"} - {engine}


def test_no_imports_in_a_circle() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(error.args[1])}")


def test_imports_inside_functions_are_seen() -> None:
    tree = ast.parse("def f():\n    from swaplab.scenario import load\n    import swaplab.errors\n    import os\n")
    assert set(imports(tree)) == {"swaplab.scenario.load", "swaplab.errors"}
