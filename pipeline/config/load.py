"""From a lake.yaml and the environment to a checked configuration."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.config.check_places import check_places, database_file, warehouse_folder
from pipeline.config.check_topics import check_dead_letter_topic
from pipeline.config.check_views import check_views
from pipeline.config.checks import check_lake
from pipeline.config.document import Document, read_document
from pipeline.config.environment import apply_environment
from pipeline.config.mistakes import ConfigErrors
from pipeline.config.models import DatasetConfig, LakeConfig
from pipeline.config.secrets import Properties
from pipeline.config.translate import translated
from pipeline.errors import BadConfiguration
from pipeline.places import location_of, sqlite_address

DEFAULT_FILE = "lake.yaml"


def load_config(path: Path | str, environ: Mapping[str, str]) -> LakeConfig:
    """Read and check a lake.yaml.

    Args:
        path: the file; relative places in it are relative to its folder.
        environ: the environment, for ``BITLAKE__...`` overrides.

    Raises:
        ConfigErrors: with every mistake at its line.
        BadConfiguration: when the file can't be read.
    """
    file = Path(path)
    text = _read(file)
    return parse_config(text, base=file.absolute().parent, environ=environ, file=str(path))


def parse_config(
    text: str, *, base: Path, environ: Mapping[str, str], file: str = DEFAULT_FILE
) -> LakeConfig:
    """The same from the text of a lake.yaml; `base` is the folder that relative places are relative to.

    Raises:
        ConfigErrors: with every mistake at its line.
    """
    document = read_document(text)
    if document.mistakes:
        raise ConfigErrors(document.mistakes, file=file)
    if document.data is None:
        document.data = {}
    apply_environment(document, environ)
    config = _validated(document)
    if config is not None:
        check_places(config, base, document)
    if config is None or document.mistakes:
        raise ConfigErrors(document.mistakes, file=file)
    return _resolved(config, base)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problem, fix = (
            "does not exist",
            "`bitlake init` or `bitlake infer FILE` writes one; --config names another.",
        )
    except UnicodeDecodeError:
        problem, fix = "is not UTF-8 text", "Save it as UTF-8."
    except OSError as error:
        problem, fix = f"can't be read: {error.strerror}", "Name a file that you may read with --config."
    raise BadConfiguration(f"{file} {problem}.", next_step=fix)


def _validated(document: Document) -> LakeConfig | None:
    config: LakeConfig | None = None
    try:
        config = LakeConfig.model_validate(document.data)
    except ValidationError as error:
        # pydantic calls a list too short when an item of it is wrong
        details = [d for d in error.errors(include_url=False) if d["type"] != "too_short" or not d["input"]]
        document.mistakes += [translated(detail, document) for detail in details]
    datasets = dict(enumerate(config.datasets)) if config else _valid_datasets(document.data)
    dead_letters = config.dead_letters.table if config else None
    check_lake(datasets, dead_letters, document)
    check_views(datasets, dead_letters, document)
    if config is not None:
        check_dead_letter_topic(config, document)
    return config


def _valid_datasets(data: Any) -> dict[int, DatasetConfig]:
    """The datasets without mistakes of their own: their cross checks are made beside the others' mistakes."""
    listed = data.get("datasets") if isinstance(data, dict) else None
    valid = {}
    for index, item in enumerate(listed if isinstance(listed, list) else ()):
        try:
            valid[index] = DatasetConfig.model_validate(item)
        except ValidationError:
            continue
    return valid


def _resolved(config: LakeConfig, base: Path) -> LakeConfig:
    catalog = Properties({"name": "lake", **config.catalog})
    if (database := database_file(catalog)) is not None:
        catalog["uri"] = sqlite_address(_place(base, database[0]), database[1])
    if (warehouse := warehouse_folder(catalog)) is not None:
        catalog["warehouse"] = location_of(_place(base, warehouse))
    kafka = Properties(config.kafka)
    for name, value in config.kafka.items():
        if str(name).endswith(".location"):
            kafka[name] = str(_place(base, str(value)))
    return config.model_copy(update={"catalog": catalog, "kafka": kafka, "state": _place(base, config.state)})


def _place(base: Path, relative: str | Path) -> Path:
    return Path(os.path.normpath(base / relative))
