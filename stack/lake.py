"""The lake.yaml that fits a stack."""

import re
from collections.abc import Iterable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from pipeline.config.template import TEMPLATE
from pipeline.errors import BadConfiguration
from stack.flink import JobManager
from stack.flink_home import CHECKPOINTS
from stack.kafka import Broker
from stack.plan import Catalog
from stack.postgres import PostgreSQL
from stack.seaweedfs import SeaweedFS
from stack.server import HOST, Server

_OURS = "# Written by `bitlake stack up`"
_HEAD = f"""\
{_OURS}, which keeps catalog, kafka and flink as its servers are. The rest is yours.
# `bitlake config check` explains every mistake; `bitlake infer FILE` writes a dataset from data.

"""


def sections(servers: Iterable[Server], catalog: Catalog = Catalog.REST) -> dict[str, dict[str, Any]]:
    """The sections of a lake.yaml that say where servers are."""
    found: dict[str, dict[str, Any]] = {}
    known = {server.kind: server for server in servers}
    files, postgres = known.get(SeaweedFS.kind), known.get(PostgreSQL.kind)
    if isinstance(files, SeaweedFS):
        if catalog is Catalog.POSTGRES and isinstance(postgres, PostgreSQL):
            found["catalog"] = {"name": "lake", **postgres.sql_catalog(files)}
        else:
            found["catalog"] = {"name": "lake", **files.rest_catalog}
    for server in known.values():
        match server:
            case Broker():
                found["kafka"] = server.addresses()
            case JobManager():
                found["flink"] = {
                    "rest.address": HOST,
                    "rest.port": server.ports["rest"],
                    "execution.checkpointing.interval": "10s",
                }
                if isinstance(files, SeaweedFS):
                    found["flink"]["execution.checkpointing.dir"] = CHECKPOINTS
    return found


def write(file: Path, found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Write a lake.yaml with these sections, or bring them up to date in one that was written so.

    Returns:
        False: the file is someone's own, and left alone.
    """
    if not file.exists():
        text = _new(found)
    elif (text := file.read_text(encoding="utf-8")).startswith(_OURS):
        text = _updated(text, found)
    else:
        return False
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.rename(file)
    return True


def _new(found: Mapping[str, Mapping[str, Any]]) -> str:
    """`bitlake init`'s, with these sections at its beginning."""
    kept = TEMPLATE[TEMPLATE.index("state:" if "catalog" in found else "catalog:") :]
    kept = (
        re.sub(r"^# kafka:.*\n#   bootstrap.*\n", "", kept, flags=re.MULTILINE) if "kafka" in found else kept
    )
    written = StringIO()
    if found:
        _yaml().dump(dict(found), written)
    return _HEAD + written.getvalue() + kept


def _updated(text: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """The text of a lake.yaml with these members of its sections; other members, and comments, stay."""
    from ruamel.yaml.error import YAMLError

    yaml = _yaml()
    try:
        lake = yaml.load(text)
    except YAMLError as error:
        raise BadConfiguration(f"lake.yaml is not YAML: {error}", next_step="Correct it.") from error
    for name, members in found.items():
        if name in lake and (name != "catalog" or lake[name].get("type") == members["type"]):
            lake[name].update(members)
        else:
            lake[name] = dict(members)
    written = StringIO()
    yaml.dump(lake, written)
    return written.getvalue()


def _yaml() -> Any:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml
