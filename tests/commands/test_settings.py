"""`sidecar settings`: the reference, as a table or as a file."""

import tomllib
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.errors import Exit
from sidecar.settings import reference


def test_it_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """As it stands in README."""
    assert main(["settings"]) == Exit.OK

    assert capsys.readouterr().out == reference.markdown()


def test_it_prints_an_example_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Ready to be redirected into a file."""
    assert main(["settings", "--toml"]) == Exit.OK

    assert "upstreams" in tomllib.loads(capsys.readouterr().out)


def test_it_writes_the_table_into_a_document(tmp_path: Path) -> None:
    """Between the markers; the rest stays."""
    file = tmp_path / "README.md"
    file.write_text(f"a\n{reference.BEGIN}\n{reference.END}\nz\n")

    assert main(["settings", "--write", str(file)]) == Exit.OK

    expected = f"a\n{reference.BEGIN}\n{reference.markdown()}{reference.END}\nz\n"
    assert file.read_text() == expected


@pytest.mark.parametrize(
    ("content", "reason"),
    [("nothing", "no <!-- settings:begin -->"), (None, "No such")],
)
def test_it_does_not_write_where_there_is_no_place(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    reason: str,
) -> None:
    """The document is left alone, exit code 2."""
    file = tmp_path / "README.md"
    if content is not None:
        file.write_text(content)

    assert main(["settings", "--write", str(file)]) == Exit.USAGE

    assert reason in capsys.readouterr().err
    assert content is None or file.read_text() == content
