"""Overrides from the environment: ``BITLAKE__DATASETS__0__TABLE=ref.bonds``.

The rule: after ``BITLAKE``, two underscores go one level down. A step is matched without regard to case, and
one underscore stands for ``.``, ``-`` or ``_``: ``BITLAKE__KAFKA__BOOTSTRAP_SERVERS`` is `bootstrap.servers`.
A dataset is named by its number (from 0) or its name. A new name under ``kafka`` or ``flink`` has dots for
its underscores. Under ``catalog`` and ``kafka`` the text is taken as it is; elsewhere as a YAML scalar.
"""

import re
from collections.abc import Mapping
from typing import Any

from pipeline.config.document import Document, Steps, read_scalar
from pipeline.config.mistakes import Mistake
from pipeline.config.secrets import is_secret

PREFIX = "BITLAKE__"
_LITERAL = ("catalog", "kafka")
_TOP = (
    "catalog", "state", "state_memory", "kafka", "commit", "time", "dead_letters", "flink", "datasets",
)  # fmt: skip
_CATALOG_NAMES = (
    "s3.endpoint", "s3.access-key-id", "s3.secret-access-key", "s3.session-token", "s3.region",
    "s3.role-arn", "s3.proxy-uri", "s3.connect-timeout", "s3.request-timeout", "s3.force-virtual-addressing",
    "client.access-key-id", "client.secret-access-key", "client.session-token", "client.region",
    "client.profile-name", "client.role-arn",
    "glue.id", "glue.endpoint", "glue.region", "glue.access-key-id", "glue.secret-access-key",
    "glue.session-token", "adls.account-name", "adls.account-key", "adls.connection-string",
    "adls.sas-token", "adls.tenant-id", "adls.client-id", "adls.client-secret",
    "gcs.project-id", "gcs.oauth2.token", "gcs.oauth2.token-expires-at", "gcs.service.host",
    "oauth2-server-uri", "rest.sigv4-enabled", "rest.signing-region", "rest.signing-name",
    "header.authorization", "init_catalog_tables", "pool_pre_ping", "py-io-impl",
    "hive.hive2-compatible", "ssl.cabundle", "ssl.client.cert", "ssl.client.key",
)  # fmt: skip


def apply_environment(document: Document, environ: Mapping[str, str]) -> None:
    """Set every ``BITLAKE__...`` variable's value in the document, remembering who set it."""
    if not isinstance(document.data, dict):
        return
    for variable in sorted(environ):
        if variable.upper().startswith(PREFIX):
            _apply(document, variable, environ[variable])


def _apply(document: Document, variable: str, text: str) -> None:
    steps = variable[len(PREFIX) :].split("__")
    if not all(steps):
        fix = "write BITLAKE__SECTION__NAME"
        document.mistakes.append(Mistake(0, 0, "", "the variable names no setting", fix, variable))
        return
    node: Any = document.data
    path: Steps = ()
    for step in steps[:-1]:
        found = _find(node, step, path)
        if found is None:
            _unknown(document, variable, step)
            return
        node = _descend(node, found)
        path = (*path, found)
        if path not in document.places:
            document.variables.setdefault(path, variable)
    last = _find(node, steps[-1], path)
    if last is None:
        _unknown(document, variable, steps[-1])
        return
    path = (*path, last)
    literal = path[0] in _LITERAL or (path[0] == "flink" and is_secret(last))
    value = text if literal else read_scalar(text)
    _set(node, last, value)
    for known in [p for p in document.places if p[: len(path)] == path]:
        document.places.pop(known)
        document.values.pop(known, None)
    document.variables[path] = variable


def _unknown(document: Document, variable: str, step: str) -> None:
    fix = "use a number from 0 or a dataset's name, and only names that are in lake.yaml"
    document.mistakes.append(Mistake(0, 0, "", f"'{step}' leads nowhere in the configuration", fix, variable))


def _find(node: Any, step: str, path: Steps) -> str | int | None:
    if isinstance(node, list):
        return _index(node, step)
    if not isinstance(node, dict):
        return None
    wanted = _plain(step)
    known = [*node, *(_TOP if not path else ()), *(_CATALOG_NAMES if path == ("catalog",) else ())]
    for name in known:
        if _plain(name) == wanted:
            return str(name)
    name = step.lower()
    if path[:1] in (("kafka",), ("flink",)) and not re.search(r"[.-]", name):
        return name.replace("_", ".")
    return name


def _index(items: list[Any], step: str) -> int | None:
    if step.isdecimal():
        return int(step) if int(step) <= len(items) else None
    for index, item in enumerate(items):
        if isinstance(item, dict) and _plain(item.get("name", "")) == _plain(step):
            return index
    return None


def _descend(node: Any, step: Any) -> Any:
    """The mapping or list at a step, made if it is missing."""
    if isinstance(node, list):
        if step == len(node):
            node.append({})
        return node[step]
    if node.get(step) is None:
        node[step] = [] if step in ("datasets", "children") else {}
    return node[step]


def _set(node: Any, step: Any, value: Any) -> None:
    if isinstance(node, list) and step == len(node):
        node.append(value)
    else:
        node[step] = value


def _plain(name: object) -> str:
    return re.sub(r"[.\-_]", "_", str(name)).lower()
