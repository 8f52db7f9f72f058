"""A proposal as a commented lake.yaml."""

import json
import re
from collections.abc import Iterator

from pipeline.infer.fields import Path
from pipeline.infer.proposed import Proposal, ProposedColumn, ProposedTable
from pipeline.infer.sample import Sample

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_LAKE = """\
# Written by `bitlake infer`{source}: read it, correct it, then
#   bitlake config check
#   bitlake {load}
catalog:                       # any catalog that pyiceberg knows: sql, rest, glue, hive ...
  name: lake
  type: sql
  uri: sqlite:///.bitlake/catalog.db
  warehouse: .bitlake/warehouse
state: .bitlake/state
datasets:
"""


def lake_text(proposal: Proposal, sample: Sample, file: str) -> str:
    """A whole lake.yaml with one dataset, from a sample of a file."""
    shown = "standard input" if file == "-" else json.dumps(file, ensure_ascii=False)[1:-1]
    count = len(sample.records)
    extent = "all" if sample.complete else "the first"
    return _LAKE.format(
        source=f" from {extent} {count:,} record{'s' * (count != 1)} of {shown}",
        load=f"load {'--envelope ' * sample.envelope}{proposal.name} {file if file == '-' else shown}",
    ) + dataset_text(proposal)


def dataset_text(proposal: Proposal) -> str:
    """The item of `datasets:` alone, for a lake.yaml that has others."""
    return "\n".join(line.rstrip() for line in _dataset(proposal)) + "\n"


def _dataset(proposal: Proposal) -> Iterator[str]:
    table = proposal.table
    for note in (*proposal.notes, *proposal.refused):
        yield f"  # {one_line(note)}"
    yield f"  - name: {proposal.name}"
    yield f"    table: lake.{proposal.name}"
    yield _commented(f"    key: {_list(table.key)}", table.key_why)
    yield _commented(f"    valid_from: {_path(proposal.valid_from)}", proposal.from_why)
    if proposal.valid_to:
        yield _commented(
            f"    valid_to: {_path(proposal.valid_to)}", "the first instant that is not valid any more"
        )
    if proposal.valid_unit:
        yield _commented(f"    valid_unit: {proposal.valid_unit}", "integers: s, ms, us or ns since 1970")
    if proposal.truncated:
        yield _commented("    time_precision: truncate", proposal.truncated)
    yield _commented(
        "    valid_end: next_change", "without valid_to a record holds until the next one; or forever"
    )
    yield _commented(f"    valid_time: {'date' if proposal.dated else 'timestamp'}", "date or timestamp")
    if proposal.operation:
        yield _commented(f"    operation: {_path(proposal.operation)}", proposal.operation_why)
    yield from _body(table, "    ")
    yield _commented("    on_new_field: evolve", "a new field becomes a column; or ignore, dead_letter")
    yield (
        f'    # partition_by: ["bucket(8, {bucketed})"]   # worth it from some ten million rows'
        if _PLAIN.fullmatch(bucketed := "__".join(table.key[0]))
        else ""
    )


def _body(table: ProposedTable, indent: str) -> Iterator[str]:
    if table.columns:
        yield f"{indent}columns:"
        yield from (_column(column, indent + "  ") for column in table.columns)
    for path in table.empty:
        yield f"{indent}# {_path(path)} is always empty in the sample: declare it when its type is known"
    for path in table.scalar_arrays:
        yield f"{indent}# {_path(path)} has scalars: JSON text in a column, or a table if listed in children"
    if table.children:
        yield f"{indent}children:"
    for child in table.children:
        yield f"{indent}  - path: {_path(child.path)}"
        key = f"key: {_list(child.key)}" if child.key else "# no key"
        yield _commented(f"{indent}    {key}", child.key_why)
        yield from _body(child, indent + "    ")


def _column(column: ProposedColumn, indent: str) -> str:
    spelled = column.guess.type if "(" not in column.guess.type else f'"{column.guess.type}"'
    plain = column.name.strip() and "." not in column.name and "__" not in column.name
    short = column.path == (column.name,) and plain
    value = spelled if short else f"{{path: {_path(column.path)}, type: {spelled}}}"
    return _commented(f"{indent}{_scalar(column.name)}: {value}", column.guess.why)


def _commented(text: str, why: str) -> str:
    return f"{text.ljust(48)} # {one_line(why)}" if why else text


def one_line(text: str) -> str:
    """A text that may hold names from the data, as a comment can."""
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _path(path: Path) -> str:
    if any("." in step or not step.strip() for step in path):
        return f"[{', '.join(_quoted(step) for step in path)}]"
    return _scalar(".".join(path))


def _list(paths: tuple[Path, ...]) -> str:
    return f"[{', '.join(_path(path) for path in paths)}]"


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else _quoted(text)


def _quoted(text: str) -> str:
    return json.dumps(text)
