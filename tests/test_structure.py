"""The structure of the code: names, imports and files."""

import ast
import itertools
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
MODULES: Final = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in sorted((ROOT / "sidecar").rglob("*.py"))
}
LEAST_LINES: Final = 30
"""A smaller file is a part of its user, or of a neighbour."""


def _imports(module: str) -> Iterator[str]:
    """Give the modules of the sidecar that a module names at its top level."""
    tree = ast.parse(MODULES[module].read_text())
    late = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in late:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & MODULES.keys() or {node.module}


def _circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return the sets of modules that reach one another."""

    def reached(start: str) -> set[str]:
        found, waiting = set[str](), [start]
        while waiting:
            for other in graph[waiting.pop()] - found:
                found.add(other)
                waiting.append(other)
        return found

    reach = {module: reached(module) for module in graph}
    return [
        {one, other}
        for one, other in itertools.combinations(graph, 2)
        if other in reach[one] and one in reach[other]
    ]


def test_no_class_name_means_two_things() -> None:
    """A reader who meets a name knows which class it is."""
    places = defaultdict(list)
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module)

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_modules_import_each_other() -> None:
    """Imports point one way; those under TYPE_CHECKING count, too."""
    graph = {module: set(_imports(module)) for module in MODULES}

    assert _circles(graph) == []


def test_a_circle_is_found() -> None:
    """The test above can fail."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}

    assert _circles(graph) == [{"a", "b"}, {"a", "c"}, {"b", "c"}]


def test_no_import_is_by_string() -> None:
    """What cannot be seen by a reader or by a tool is no import."""
    found = [
        module
        for module, path in MODULES.items()
        if re.search(r"\b(import_module|__import__)\(", path.read_text())
    ]

    assert found == []


@pytest.mark.parametrize("module", MODULES)
def test_a_file_is_worth_opening(module: str) -> None:
    """A file of a few lines costs its reader more than it holds."""
    path = MODULES[module]
    if path.name in {"__init__.py", "__main__.py"}:
        return

    assert len(path.read_text().splitlines()) >= LEAST_LINES


def test_no_file_names_a_registry_or_this_machine() -> None:
    """What is committed is the same for everybody."""
    words = ["/work/", "pypi.org", "files.pythonhosted", "npmjs"]
    patterns = itertools.chain.from_iterable(("-e", word) for word in words)
    this = ":!tests/test_structure.py"
    found = subprocess.run(
        ["git", "grep", "-l", "-F", *patterns, "--", ".", this],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    if found.returncode > 1:
        pytest.skip("there is no git checkout")

    assert found.stdout.splitlines() == []
