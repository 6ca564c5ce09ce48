"""Rules for the shape of the source that no other tool holds."""

import ast
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
LEAST_LINES: Final = 30
TINY: Final = {"__init__.py", "__main__.py"}
EVENT: Final = re.compile(r"[a-z0-9_]+")
LOGGERS: Final = {"debug", "info", "warning", "error", "critical", "exception"}
# Spelt in parts, so that this file does not contain what it forbids.
FOREIGN: Final = re.compile(
    r"files\.python"
    r"hosted\.org|py"
    r"pi\.org/simple|registry\.np"
    r"mjs\.org|"
    r"(?<![\w.~}/])/(?:work|root|tmp"
    r"/w|tmp"
    r"/wt)/\w"
)


@cache
def modules() -> dict[str, ast.Module]:
    """Return the syntax tree of each module of the sidecar, by dotted name."""
    trees = {}
    for path in sorted((ROOT / "sidecar").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        trees[name] = ast.parse(path.read_text(), path)
    return trees


def imported(tree: ast.Module, known: set[str]) -> Iterator[str]:
    """Yield the modules of `known` that a module imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in known else node.module


def test_no_class_name_means_two_things() -> None:
    """A class is known by its name alone; nested and private classes count, too."""
    names = Counter(
        node.name
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )

    assert [name for name, count in names.items() if count > 1] == []


def test_no_imports_form_a_circle() -> None:
    """Imports inside functions and for type checkers only count, too."""
    known = set(modules())
    graph = {
        name: set(imported(tree, known)) - {name} for name, tree in modules().items()
    }

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_nothing_is_imported_by_string() -> None:
    """Import contracts and readers cannot follow a name in a string."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == "import_module")
        or (isinstance(node, ast.Name) and node.id in {"import_module", "__import__"})
    ]

    assert found == []


def test_no_file_is_tiny() -> None:
    """A file of a few lines belongs to the file that uses it."""
    tiny = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "sidecar").rglob("*.py")
        if path.name not in TINY and len(path.read_text().splitlines()) < LEAST_LINES
    ]

    assert tiny == []


def constant_parts(node: ast.expr) -> str | None:
    """Return the text of a string or f-string with `x` for each value, or None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "x"
            for part in node.values
        )
    return None


def raised(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of exceptions that are raised with one string."""
    for node in ast.walk(tree):
        text = None
        if isinstance(node, ast.Raise):
            if isinstance(node.exc, ast.Call) and node.exc.args:
                text = constant_parts(node.exc.args[0])
            line = node.lineno
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "message":
                text = constant_parts(node.value)
            line = node.lineno
        else:
            continue
        if text is not None:
            yield line, text


def logged(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and text of what is logged as one string."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LOGGERS
            and node.args
        ):
            text = constant_parts(node.args[0])
            if text is not None:
                yield node.lineno, text


def test_messages_end_without_a_full_stop() -> None:
    """Log lines and errors are one phrase; several callers put words after them."""
    found = [
        f"{name}:{line}: {text}"
        for name, tree in modules().items()
        for line, text in (*raised(tree), *logged(tree))
        if text.endswith(".") and not text.endswith("...")
    ]

    assert found == []


def test_log_lines_are_events_or_begin_with_a_capital() -> None:
    """An event is one word in snake case; a sentence begins as a sentence does."""
    found = [
        f"{name}:{line}: {text}"
        for name, tree in modules().items()
        if name != "sidecar.log.canary"  # it logs samples, not sentences
        for line, text in logged(tree)
        if not EVENT.fullmatch(text) and text[:1].islower()
    ]

    assert found == []


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    """The files hold on any machine: no registry of packages, no path of a developer."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    # An archive of the source has no list of its own: its files are the tracked ones.
    names = listed.stdout.split("\0") if listed.returncode == 0 else []
    found = [
        f"{name}: {match[0]}"
        for name in filter(None, names)
        if (ROOT / name).is_file()
        for match in FOREIGN.finditer((ROOT / name).read_text(errors="replace"))
    ]

    assert found == []
