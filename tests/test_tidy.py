"""The rules of the house that no linter knows; see CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/swaplab"
MODULES = sorted(SOURCE.rglob("*.py"))
DETERMINISTIC = ("linux", "scenario", "result", "kernel", "replay")
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN = 10
FILE_BYTES_MAX = 5 << 20
# With brackets, so that this file keeps the rule itself.
BANNED = {
    "a note to oneself": re.compile("TOD[O]|FIXM[E]|XX[X]"),
    "a package registry's host": re.compile(r"pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.|crate[s]\.io|debia[n]\.org"),
    "a path of one machine": re.compile(r"(?<![\w.~*}])/(wor[k]|roo[t]|hom[e]|tm[p])/\w"),
}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def functions() -> dict[str, int]:
    """Lines of every function by its name, without its docstring and its decorators."""
    found = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[0]
                is_documented = ast.get_docstring(node) is not None
                documented = (first.end_lineno or 0) - first.lineno + 1 if is_documented else 0
                lines = (node.end_lineno or 0) - node.lineno + 1 - documented
                found[f"{path.relative_to(SOURCE)}:{node.lineno} {node.name}"] = lines
    return found


def test_functions_are_short() -> None:
    lines = functions()
    assert not {name: count for name, count in lines.items() if count > FUNCTION_LINES_MAX}
    assert median(lines.values()) <= FUNCTION_LINES_MEDIAN


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_modules_open_alike(path: Path) -> None:
    """Docstring, future, imports, and before anything else what is public."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    body = tree.body[1:]
    if not body or path == SOURCE / "__init__.py":
        return
    first = body[0]
    assert isinstance(first, ast.ImportFrom)
    assert first.module == "__future__"
    after = next(node for node in body if not isinstance(node, ast.Import | ast.ImportFrom))
    assert isinstance(after, ast.Assign)
    assert ast.unparse(after.targets[0]) == "__all__"


@pytest.mark.parametrize("package", DETERMINISTIC)
def test_results_depend_on_the_input_alone(package: str) -> None:
    for path in (SOURCE / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {"random", "time", "secrets", "uuid"} & set(names), path
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("default_rng", "urandom"), path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_children_end_with_their_parent(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("subprocess.", "asyncio.create_subproc")):
            assert "preexec_fn" in [each.arg for each in node.keywords], f"line {node.lineno}: see swaplab.process"


# What may be called by whoever decorates it is left alone; so is what a class from elsewhere asks of those it is above.
NEUTRAL = {"property", "cached_property", "staticmethod", "classmethod", "cache", "contextmanager", "dataclass"}
PLAIN_BASES = {"NamedTuple", "Struct", "Generic", "Protocol", "Exception"}


def last_name(node: ast.expr) -> str:
    """Of what a decorator or a base class is: ``msgspec.Struct`` is a Struct, ``jit(...)`` is jit."""
    return re.split(r"[\[(]", ast.unparse(node))[0].rpartition(".")[2]


def definitions(tree: ast.Module, plain: set[str]) -> Iterator[ast.stmt]:
    """What a module defines, and the methods of its classes whose bases are `plain`."""
    yield from tree.body
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and {last_name(base) for base in node.bases} <= plain:
            yield from (each for each in node.body if isinstance(each, ast.FunctionDef))


def names_defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name] if {last_name(each) for each in node.decorator_list} <= NEUTRAL else []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]


def test_nothing_is_there_that_nobody_uses() -> None:
    """No module, test, benchmark or document has the name of it anywhere but where it is defined."""
    trees = {path: ast.parse(path.read_text()) for path in MODULES}
    classes = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    others = [path for path in tracked() if path.suffix in (".py", ".md", ".toml") and path not in MODULES]
    used = {word for path in others for word in re.findall(r"\w+", path.read_text(errors="replace"))}
    for tree in trees.values():
        used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        used |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    defined = {
        f"{path.relative_to(SOURCE)}:{node.lineno} {name}"
        for path, tree in trees.items()
        for node in definitions(tree, PLAIN_BASES | classes)
        for name in names_defined(node)
        if name not in used and not name.startswith("__")
    }
    assert defined == set()


def test_files_hold_nothing_banned() -> None:
    found = []
    for path in tracked():
        assert path.stat().st_size <= FILE_BYTES_MAX, path
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            found += [
                f"{path.relative_to(ROOT)}:{number}: {what}" for what, banned in BANNED.items() if banned.search(line)
            ]
    assert not found
