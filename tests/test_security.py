"""SECURITY.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()
ROWS = [line for line in TEXT.splitlines() if re.match(r"\| \d+ \|", line)]


def test_every_threat_has_an_answer_and_a_test() -> None:
    """Every row has all five columns."""
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split("|")]

        assert len(cells) == 5
        assert all(cells)
        assert "`tests/" in cells[4]


def test_the_tests_exist() -> None:
    """Each file is there, and each function is in the file named before it."""
    missing = []
    for row in ROWS:
        source = ""
        for name in re.findall(r"`([^`]+)`", row.rpartition(" | ")[2]):
            path, _, function = name.rpartition(": ")
            path = path or (function if function.startswith("tests/") else "")
            if path:
                file = ROOT / path
                source = file.read_text() if file.exists() else ""
                if not source:
                    missing.append(path)
            if function.startswith("test_") and f"def {function}(" not in source:
                missing.append(name)

    assert missing == []
