"""What is downloaded is what `versions.toml` says, or it is not used."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from pipeline.errors import BadConfiguration
from stack import downloads
from stack.lock import GROUPS, WHEELS

NAME_PARTS = ("artifactId", "version", "classifier")
POM = "{http://maven.apache.org/POM/4.0.0}"


def _pom() -> dict[str, set[str]]:
    """The files that the profiles of jobs/pom.xml name themselves."""
    root = ET.parse(downloads.POM).getroot()
    return {
        str(profile.findtext(f"{POM}id")): {
            "-".join(filter(None, (one.findtext(f"{POM}{part}") for part in NAME_PARTS)))
            + f".{one.findtext(f'{POM}type') or 'jar'}"
            for one in profile.iter(f"{POM}dependency")
        }
        for profile in root.iter(f"{POM}profile")
    }


def test_every_jar_of_the_pom_has_a_checksum() -> None:
    named = _pom()
    locked = downloads.versions()["jars"]
    assert set(named) == set(locked) == set(GROUPS)
    for group, files in named.items():
        assert files <= set(locked[group])
    for group in ("flink-lib", "flink-s3", "trino"):  # each holds what it needs
        assert named[group] == set(locked[group])
    assert set(downloads.versions()["wheels"]) == set(WHEELS)


@pytest.mark.parametrize("change", ["other", "missing", "more"])
def test_other_files_are_refused(tmp_path: Path, change: str) -> None:
    for name in ("a.jar", "b.jar"):
        (tmp_path / name).write_text(name)
    wanted = {name: downloads.sha256(tmp_path / name) for name in ("a.jar", "b.jar")}
    downloads.compare(tmp_path, wanted)
    match change:
        case "other":
            (tmp_path / "b.jar").write_text("other")
        case "missing":
            (tmp_path / "b.jar").unlink()
        case "more":
            del wanted["b.jar"]
    with pytest.raises(BadConfiguration, match=r"^b\.jar: not as versions\.toml says"):
        downloads.compare(tmp_path, wanted)


def test_what_is_refused_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "versions", lambda: {"jars": {"kafka": {"a.jar": "00"}}})

    def resolved(_group: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "a.jar").write_text("evil")

    monkeypatch.setattr(downloads, "resolve", resolved)
    with pytest.raises(BadConfiguration):
        downloads.jars("kafka")
    assert [file.name for file in downloads.cached().rglob("*") if file.is_file()] == [".lock"]
