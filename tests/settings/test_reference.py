"""The reference is made from the tree, and README and examples are held to it."""

import re
import tomllib
from pathlib import Path

import pytest

from sidecar.settings import introspection, reference
from sidecar.settings.loading import load
from sidecar.settings.model import Settings

ROOT = Path(__file__).parents[2]


def test_readme_has_the_generated_table() -> None:
    """Run `python -m sidecar settings --write README.md` after a change."""
    readme = (ROOT / "README.md").read_text()

    assert reference.embed(readme) == readme


def test_every_setting_is_in_the_table_with_its_meaning() -> None:
    """In the order of the tree, one row each."""
    rows = [line.split(" | ") for line in reference.markdown().splitlines()[2:]]

    names = [row[0].removeprefix("| ").strip("`") for row in rows]
    assert names == [
        ".".join(path).replace("*", "NAME")
        for path, _ in introspection.leaves(Settings)
    ]
    assert all(len(row) == 4 for row in rows)
    assert all(re.fullmatch(r".{10,}\. \|", row[3]) for row in rows)


def test_a_duration_says_so() -> None:
    """Every setting names its unit, and its meaning begins with it."""
    for path, setting in introspection.leaves(Settings):
        meaning = reference.meaning(path)
        if setting.kind is float:
            assert path[-1].endswith("_seconds")
            assert meaning.startswith("Seconds")
        if path[-1].endswith("_bytes"):
            assert "ytes" in meaning


@pytest.mark.parametrize(
    ("path", "values", "default"),
    [
        ("log.level", "`debug` or `info` or `warning` or `error`", '"info"'),
        ("upstreams.*.limits.max_body_bytes", "0 or more", "0"),
        ("upstreams.*.limits.queue_seconds", "0 to 300", "2"),
        ("upstreams.*.listen", "address", '"127.0.0.1:8700"'),
        ("upstreams.*.deny", "list", '["* /service-accounts/**"]'),
        ("upstreams.*.ca_file", "path", ""),
        ("job.rotate_every_days", "1 to 3650", ""),
        ("job.name", "text", ""),
    ],
)
def test_what_the_table_says_of_a_setting(path: str, values: str, default: str) -> None:
    """What it accepts and what holds without it."""
    setting, _ = introspection.at(Settings, path.split("."))

    assert setting is not None
    assert setting.accepts == values
    assert setting.default_toml == default


def test_the_example_file_loads(tmp_path: Path) -> None:
    """As it is printed: what is required is set."""
    file = tmp_path / "sidecar.toml"
    file.write_text(reference.toml())

    assert load(file, {}).job.name == "production-crm-sync"


def test_the_example_file_loads_with_every_comment_taken_away(tmp_path: Path) -> None:
    """Every default and example that it shows is accepted."""
    lines = [
        line.removeprefix("# ")
        for line in reference.toml().splitlines()
        if re.match(r"(# )?(\[|[a-z_]+ = )", line)
    ]
    # One of two sources, a socket for the uids, and no file that is not there.
    text = "\n".join(
        line
        for line in lines
        if not line.startswith(("file = ", "allow_uids = ", "ca_file = "))
    )
    file = tmp_path / "sidecar.toml"
    file.write_text(text)

    settings = load(file, {})

    assert settings.rotation is not None
    assert set(tomllib.loads(text)) == set(introspection.settings_of(Settings))


@pytest.mark.parametrize("name", ["sidecar.toml", "local.toml"])
def test_the_files_in_config_load(name: str) -> None:
    """They are what people begin with."""
    assert "flownally" in load(ROOT / "config" / name, {}).upstreams


def test_the_production_file_follows_our_own_advice() -> None:
    """Narrow, proven, owned, and due one day."""
    settings = load(ROOT / "config" / "sidecar.toml", {})
    upstream = settings.upstreams["flownally"]

    assert settings.job.environment == "production"
    assert settings.job.owner
    assert settings.job.rotate_every_days
    assert upstream.allow
    assert upstream.credential.probe
    assert upstream.credential.key_prefix


def test_embedding_is_idempotent_and_keeps_the_rest() -> None:
    """Only what is between the markers changes."""
    document = f"before\n{reference.BEGIN}\nSTALE\n{reference.END}\nafter\n"

    once = reference.embed(document)

    assert once.startswith("before\n")
    assert once.endswith("after\n")
    assert "STALE" not in once
    assert reference.embed(once) == once


@pytest.mark.parametrize(
    "document", ["", reference.BEGIN, reference.END, reference.END + reference.BEGIN]
)
def test_a_document_without_markers_is_refused(document: str) -> None:
    """Nothing is written where nobody asked for it."""
    with pytest.raises(ValueError, match="settings:begin"):
        reference.embed(document)
