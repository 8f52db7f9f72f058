"""Names of tables and of the views over them, one set in SQL: none may hide another.

The views are those of `pipeline.views.duckdb` and `pipeline.views.trino`. Both compare names without case.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.config.compile import dataset_schema, walk
from pipeline.config.document import Document, Steps
from pipeline.config.mistakes import spell
from pipeline.config.models import DatasetConfig
from pipeline.schema import TableSchema

_MAIN = "main"
"""DuckDB's schema of names without one."""
DATABASES = ("memory", "system", "temp")
"""DuckDB's own databases: what is in a namespace of such a name can't be told from what is in them."""
_SYSTEM = ("information_schema", "pg_catalog")
_MOST_CHARACTERS, _MOST_OF_A_DATASET = 255, 160
"""Of names in SQL catalogs; and of a dataset's, which its data files have with 60 characters more."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_Name = tuple[str, str]


@dataclass(frozen=True)
class _Claim:
    """Who has a name in SQL.

    Attributes:
        owner: the table, as the messages call it.
        what: what it has the name for.
        place: where in the file that is decided.
        view: the name is made from the table's; else it is the table's.
    """

    owner: str
    what: str
    place: Steps
    view: bool = False


def check_views(datasets: Mapping[int, DatasetConfig], dead_letters: str | None, document: Document) -> None:
    """Add names that would hide another, or that can't be made, to the document's mistakes.

    Args:
        datasets: the datasets that are well formed, by their place in the file.
        dead_letters: the table of dead letters.
        document: where the mistakes go, and where places come from.
    """
    claimed = dict(_of_dead_letters(dead_letters)) if dead_letters else {}
    told = {mistake.path for mistake in document.mistakes}
    for index, dataset in datasets.items():
        for (steps, _), table in zip(walk(dataset), dataset_schema(dataset).tables, strict=True):
            path: Steps = ("datasets", index, *steps)
            if spell((*path, "path" if steps else "name")) in told or spell((*path, "table")) in told:
                continue
            if not _check_name(dataset, table, path, document):
                continue
            _claim(claimed, table, path, document)


def _check_name(dataset: DatasetConfig, table: TableSchema, path: Steps, document: Document) -> bool:
    place = (*path, "path") if table.arrays else (*path, "name")
    namespace, _, name = table.identifier.rpartition(".")
    mistakes = len(document.mistakes)
    if not table.arrays and len(dataset.name) > _MOST_OF_A_DATASET:
        fix = f"write a name of at most {_MOST_OF_A_DATASET} characters"
        document.report(place, f"the name has {len(dataset.name)} characters", fix)
    elif namespace.lower() in _SYSTEM:
        fix = "write another namespace, as in ref.bonds"
        document.report((*path, "table"), f"'{namespace}' is DuckDB's and Trino's own", fix)
    elif max(len(namespace), len(name)) > _MOST_CHARACTERS:
        fix = f"give it a `table` whose namespace and name have at most {_MOST_CHARACTERS} characters each"
        document.report(place, f"the name of its table has {len(name)} characters", fix)
    elif _CONTROL.search(table.name) or not all(table.identifier.split(".")):
        fix = "leave it out of `children`: then it is a column with JSON text"
        document.report(place, "no table can be named after this array", fix)
    return len(document.mistakes) == mistakes


def _claim(claimed: dict[_Name, _Claim], table: TableSchema, path: Steps, document: Document) -> None:
    own: dict[_Name, _Claim] = {}
    for name, claim in _of_table(table, path):
        other = own.get(name) or claimed.get(name)
        if other is None:
            own[name] = claim
        elif other.owner == claim.owner and claim.view != other.view:
            fix = "give it a table in another namespace, such as ref.bonds"
            message = (
                f"{claim.owner} would have the name {_spelled(name)} for {other.what} and for {claim.what}"
            )
            document.report((*path, "table"), message, fix)
            break
        elif other.owner != claim.owner:
            # What two tables are called is compared by `check_lake`.
            if claim.view or other.view or other.place[-1] != claim.place[-1]:
                message = (
                    f"{other.owner} would have the name {_spelled(name)} for {other.what}, and"
                    f" {claim.owner} for {claim.what}: the one would hide the other"
                )
                document.report(claim.place, message, _fix(claim))
            break
    for name, claim in own.items():
        claimed.setdefault(name, claim)


def _fix(claim: _Claim) -> str:
    if claim.place[-1] == "table":
        return "give one of them another `table`"
    if claim.place[-1] == "path":
        return (
            "leave one of them out of `children` (it is a column with JSON text then), or rename the dataset"
        )
    return "rename one of them"


def _of_table(table: TableSchema, path: Steps) -> Iterator[tuple[_Name, _Claim]]:
    owner = f"'{table.name}'"
    called, stored = (*path, "path" if table.arrays else "name"), (*path, "table")
    namespace, _, name = table.identifier.rpartition(".")
    yield _name(_MAIN, table.name), _Claim(owner, "its versions", called)
    if _name(namespace, name) != _name(_MAIN, table.name):
        yield _name(namespace, name), _Claim(owner, "its table", stored)
    if _name(namespace, name) == _name(_MAIN, table.name) or namespace.lower() in DATABASES:
        yield _name(_MAIN, f"{table.name}_rows"), _Claim(owner, "the rows of its table", called, view=True)
    current = "the view of what is believed now"
    yield _name(_MAIN, f"{table.name}_current"), _Claim(owner, current, called, view=True)
    yield _name(namespace, f"{name}_current"), _Claim(owner, current, stored, view=True)
    yield _name(namespace, f"{name}_history"), _Claim(owner, "the view of its versions", stored, view=True)


def _of_dead_letters(table: str) -> Iterator[tuple[_Name, _Claim]]:
    namespace, _, name = table.rpartition(".")
    place: Steps = ("dead_letters", "table")
    yield _name(namespace, name), _Claim("dead_letters", "its table", place)
    if namespace.lower() in DATABASES:
        yield _name(_MAIN, name), _Claim("dead_letters", "its rows", place, view=True)
    positions = _Claim("dead_letters", "the table of a Flink job's positions", place, view=True)
    yield _name(namespace, "flink_positions"), positions


def _name(schema: str, name: str) -> _Name:
    return schema.lower(), name.lower()


def _spelled(name: _Name) -> str:
    return f"'{name[1]}'" if name[0] == _MAIN else f"'{name[0]}.{name[1]}'"
