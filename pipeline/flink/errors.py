"""Why a job stops that is not Flink's to mend."""

import json
import re
from dataclasses import asdict, dataclass

from pipeline.errors import BitlakeError, Refused
from pipeline.schema import DatasetSchema, Kind

_MARK = "bitlake-new-fields"


@dataclass(frozen=True)
class Grown:
    """A column that a table lacks, or has narrower.

    Attributes:
        dataset, table, name: where.
        path: in the record, or in the array's element.
        type: as lake.yaml spells it.
    """

    dataset: str
    table: str
    name: str
    path: tuple[str, ...]
    type: str


class NewField(BitlakeError):
    """The stream has a field that the tables have no column for: they are evolved, and the job goes on."""

    @staticmethod
    def between(known: DatasetSchema, read: DatasetSchema) -> "NewField":
        """The error of a schema that grew; its text tells `new_fields` what has to be added."""
        before = {(table.name, column) for table in known.tables for column in table.columns}
        found = [
            Grown(known.name, table.name, column.name, column.path, str(column.type))
            for table in read.tables
            for column in table.columns
            if (table.name, column) not in before and column.type.kind is not Kind.UNKNOWN
        ]
        names = ", ".join(f"{one.table}.{one.name} ({one.type})" for one in found)
        listed = json.dumps([asdict(one) for one in found])
        return NewField(
            f"'{known.name}': new fields in the stream: {names} <{_MARK} {listed} {_MARK}>",
            next_step="`bitlake submit` evolves the tables and goes on from the last checkpoint",
        )


class OtherVersion(Refused):
    """The state that a job is to go on from is not to be read by this version."""

    def __init__(self) -> None:
        super().__init__(
            "the job's state was written by another version of bitlake, which packed changes in another way",
            next_step="`bitlake submit --fresh` goes on from the tables, and loses nothing",
        )


def cause(failure: str) -> str:
    """The innermost cause in a Java stack trace, without places and what is for `new_fields` alone."""
    lines = re.sub(f" <{_MARK} .*? {_MARK}>", "", failure, flags=re.DOTALL).strip().splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return [*lines[:1], *causes][-1][:500] if lines else "not known"


def new_fields(failure: str) -> list[Grown]:
    """What `NewField` told, from a stack trace that has it in it."""
    found = re.search(f"<{_MARK} (.*?) {_MARK}>", failure, re.DOTALL)
    return [Grown(**{**one, "path": tuple(one["path"])}) for one in json.loads(found[1])] if found else []
