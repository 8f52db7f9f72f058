"""A proposal tried on its sample: the decoder of `load` reads the same lines by it."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path as FilePath

import numpy as np

from pipeline.config import ConfigErrors, DatasetConfig, dataset_schema, parse_config
from pipeline.config.values import is_name
from pipeline.decode import Batch, Decoder
from pipeline.decode.explain import Refused, explain_all
from pipeline.decode.layout import ROLES, Code
from pipeline.engine.options import decode_options
from pipeline.infer.fields import Path
from pipeline.infer.fits import decoded_lines, spelled
from pipeline.infer.proposed import Proposal, ProposedTable
from pipeline.infer.sample import Sample
from pipeline.infer.types import Guess
from pipeline.infer.write import dataset_text, one_line

_BLOCK = 32_768
_MOST_ROUNDS = 20
_MOST_KINDS = 100
_HOUR_US = 3_600_000_000
_MISFITS = range(Code.WRONG_TYPE, Code.NULL_ELEMENT)
_TIMES = range(Code.TIME_MISSING, Code.OPERATION)

_Place = tuple[int, Path]
"""A column: the number of its table, and its path there."""


@dataclass
class _Outcome:
    """What a sample's lines become.

    Attributes:
        reasons: how many are dead letters, by what is wrong.
        misfits: columns that refuse a value.
        lines: how many there are.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    misfits: set[_Place] = field(default_factory=set)
    lines: int = 0


def tried(proposal: Proposal, sample: Sample) -> Proposal:
    """The proposal without types that refuse a value of the sample, and with what else would be refused."""
    for _ in range(_MOST_ROUNDS):
        outcome = _decoded(_config(proposal), sample)
        loose = {place for place in outcome.misfits if _can_be_json(proposal.table, place)}
        if not loose:
            break
        proposal = replace(proposal, table=_loosened(proposal.table, loose, iter(range(10**6))))
    return replace(proposal, refused=tuple(_told(outcome)))


def _config(proposal: Proposal) -> DatasetConfig:
    name = proposal.name if is_name(proposal.name) else "records"
    text = "datasets:\n" + dataset_text(replace(proposal, name=name))
    return parse_config(text, base=FilePath("/"), environ={}).datasets[0]


def _decoded(config: DatasetConfig, sample: Sample) -> _Outcome:
    schema = dataset_schema(config)
    decoder = Decoder(schema, decode_options(config, envelope=sample.envelope))
    latest = time.time_ns() // 1000 + _HOUR_US
    outcome = _Outcome()
    paths = {
        f"{table.name}.{column.name}": (index, column.path)
        for index, table in enumerate(schema.tables)
        for column in table.values
        if column.declared
    }
    for lines in _blocks(sample):
        batch = decoded_lines(decoder, lines, latest)
        outcome.lines += len(batch)
        _add(batch, paths, outcome)
    return outcome


def _blocks(sample: Sample) -> Iterator[list[bytes]]:
    lines = sample.lines or [spelled(record).encode() for record in sample.records]
    for at in range(0, len(lines), _BLOCK):
        yield lines[at : at + _BLOCK]


def _add(batch: Batch, paths: dict[str, _Place], outcome: _Outcome) -> None:
    records = np.flatnonzero(batch.status)
    if not len(records):
        return
    refused = Refused.of(batch, records)
    nowhere = replace(refused, error_at=np.full(len(records), -1))
    stages, reasons, _ = explain_all([nowhere])
    outcome.reasons.update(
        f"{stage}: {reason}" if stage not in reason else reason
        for stage, reason in zip(stages.to_pylist(), reasons.to_pylist(), strict=True)
    )
    for code, column in set(zip(refused.status.tolist(), refused.error_column.tolist(), strict=True)):
        if column >= ROLES and (code in _MISFITS or code in _TIMES):
            place = paths.get(batch.columns[column].name)
            if place:
                outcome.misfits.add(place)


def _told(outcome: _Outcome) -> Iterator[str]:
    """How many records would be dead letters, by what is wrong with them."""
    several = outcome.reasons.most_common()
    for reason, count in several[:_MOST_KINDS]:
        what = "a dead letter" if count == 1 else "dead letters"
        yield f"{count:,} of {outcome.lines:,} lines would become {what}: {one_line(reason)}"
    if rest := several[_MOST_KINDS:]:
        total = sum(count for _, count in rest)
        yield f"{total:,} more would become dead letters for {len(rest):,} other reasons"


def _in_order(table: ProposedTable) -> Iterator[ProposedTable]:
    """The tables as a schema has them: depth first."""
    yield table
    for child in table.children:
        yield from _in_order(child)


def _can_be_json(table: ProposedTable, place: _Place) -> bool:
    number, path = place
    found = list(_in_order(table))[number]
    column = next((column for column in found.columns if column.path == path), None)
    return column is not None and column.guess.type != "json" and path not in found.key


def _loosened(table: ProposedTable, places: Iterable[_Place], numbers: Iterator[int]) -> ProposedTable:
    number, wanted = next(numbers), set(places)
    refusing = Guess("json", "a value in the sample fits no other type: kept as JSON text")
    columns = tuple(
        replace(column, guess=refusing) if (number, column.path) in wanted else column
        for column in table.columns
    )
    children = tuple(_loosened(child, wanted, numbers) for child in table.children)
    return replace(table, columns=columns, children=children)


@lru_cache(1024)
def takes_child(array: Path) -> bool:
    """Whether lake.yaml takes an array as a child."""
    # no member is named like the key here: names that would meet are another matter
    apart = [["\t", "key"], ["\t", "from"]]
    dataset = {
        "name": "d",
        "table": "t.d",
        "columns": {"k": {"path": apart[0], "type": "string"}},
        "key": [apart[0]],
        "valid_from": apart[1],
        "children": [{"path": list(array)}],
    }
    text = spelled({"datasets": [dataset]})  # JSON is YAML
    try:
        parse_config(text, base=FilePath("/"), environ={})
    except ConfigErrors:
        return False
    return True
