"""What the documentation shows must be true of the product."""

import json
import re
import shlex
from pathlib import Path

import pytest
from click import Context
from typer.main import get_command

from pipeline.cli.main import app
from pipeline.config import parse_config
from pipeline.source.kafka.properties import ALIASES, SUPPORTED

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docker").glob("*.md"))]
CATALOG = "catalog: {name: lake, type: sql, uri: 'sqlite:///c.db', warehouse: w}\nstate: s\n"


def blocks(language: str) -> list:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [
        pytest.param(text, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, text in enumerate(pattern.findall(page.read_text(encoding="utf-8")))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))

    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]

    assert missing == []


@pytest.mark.parametrize("text", [b for b in blocks("yaml") if "datasets:" in b.values[0]])
def test_lake_yaml_is_accepted(text: str, tmp_path: Path):
    parse_config(text if "catalog:" in text else CATALOG + text, base=tmp_path, environ={})


@pytest.mark.parametrize("text", blocks("json"))
def test_json_is_json(text: str):
    for line in text.splitlines():
        json.loads(line)


@pytest.mark.parametrize("text", blocks("python"))
def test_python_compiles(text: str):
    compile(text, "page", "exec")


def test_the_properties_of_kafka_are_listed():
    page = (ROOT / "docs/how-to/run-kafka.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*", page.partition("## Properties")[2].partition("\n## ")[0], re.MULTILINE)

    listed = re.findall(r"`(.+?)`", "".join(rows))

    assert sorted(listed) == sorted([*SUPPORTED, *ALIASES])


def test_pictures_are_small():
    assert all(p.stat().st_size < 150_000 for p in (ROOT / "docs" / "images").iterdir())


def commands() -> list:
    """The command lines of bitlake that the pages show, in blocks of their own."""
    found = {}
    for page in PAGES:
        text = re.sub(
            r"^```(?:python|yaml|json)\n.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
        )
        for line in re.findall(
            r"^(?: {4}|)(?:\S.*\| |\$ |(?:BITLAKE__\S+ )*)(bitlake .*)$", text, re.MULTILINE
        ):
            if "`" not in line and "**" not in line:
                found.setdefault(line.partition("  #")[0].strip(), page.stem)
    return [pytest.param(line, id=f"{stem}: {line}") for line, stem in found.items()]


@pytest.mark.parametrize("line", commands())
def test_commands_are_spelled_as_they_are(line: str):
    command, words = get_command(app), shlex.split(line)[1:]
    # By the group's own look-up: it finds what other packages bring, too.
    while hasattr(command, "commands") and (name := next((w for w in words if not w.startswith("-")), None)):
        found = command.get_command(Context(command), name)
        if found is None:
            break
        command, words = found, words[words.index(name) + 1 :]

    assert not hasattr(command, "commands") or words == ["--help"], f"no command {words}"
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {w for w in words if re.fullmatch(r"--?[a-z-]+", w)} - {"-"} <= known
