import json
from pathlib import Path

import pytest

from pipeline.demo.rates import publications, read_rates, write_rates

ENDED = {
    "BGN": "2026-01-02", "CYP": "2008-01-02", "EEK": "2011-01-03", "HRK": "2023-01-02", "ISK": "2008-12-10",
    "LTL": "2015-01-02", "LVL": "2014-01-02", "MTL": "2008-01-02", "ROL": "2005-07-01", "RUB": "2022-03-02",
    "SIT": "2007-01-02", "SKK": "2009-01-02", "TRL": "2005-01-03",
}  # fmt: skip


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    path: Path = tmp_path_factory.mktemp("rates") / "rates.jsonl"
    written = write_rates(path)
    lines = path.read_text(encoding="ascii").splitlines()
    assert written == len(lines)
    return [json.loads(line) for line in lines]


def test_every_observation_is_a_put_and_every_end_a_terminate(records):
    puts = [r for r in records if "rate" in r["value"]]
    ends = {r["value"]["currency"]: r["value"]["date"] for r in records if "rate" not in r["value"]}

    assert len(puts) == 221_702
    assert len(records) == len(puts) + len(ENDED)
    assert ends == ENDED
    assert all(
        r["value"].get("operation", "put") == ("put" if "rate" in r["value"] else "terminate")
        for r in records
    )


def test_records_come_in_order_of_publication(records):
    timestamps = [r["timestamp"] for r in records]

    assert timestamps == sorted(timestamps)
    assert (timestamps[0], timestamps[-1]) == ("1999-01-04T15:00:00Z", "2026-10-30T15:00:00Z")
    assert all(r["key"] == r["value"]["currency"] for r in records)
    assert all(r["timestamp"][:10] == r["value"]["date"] for r in records)
    assert len({(r["key"], r["value"]["date"]) for r in records}) == len(records)


def test_rates_are_the_text_of_the_file(records):
    rates = {(r["key"], r["value"]["date"]): r["value"].get("rate") for r in records}

    assert rates["USD", "1999-01-04"] == "1.1789"
    assert rates["CYP", "1999-01-04"] == "0.58231"
    assert rates["TRL", "1999-01-04"] == "372274"
    assert rates["CHF", "2015-01-14"] == "1.201"
    assert rates["CHF", "2015-01-15"] == "1.028"
    assert rates["ISK", "2026-10-30"] == "136"
    assert ("ISK", "2008-12-11") not in rates
    assert rates["ISK", "2018-02-01"] == "125.01"
    whole, fraction = zip(
        *((r.partition(".")[0], r.partition(".")[2]) for r in rates.values() if r), strict=True
    )
    assert max(map(len, whole)) <= 12
    assert max(map(len, fraction)) <= 6


def test_the_file_has_41_currencies_and_7126_days():
    rates = read_rates()

    assert (rates.num_rows, rates.num_columns) == (7126, 42)
    assert rates["Date"][0].as_py() == "1999-01-04"


def test_publication_follows_summer_time():
    assert publications(["2026-03-27", "2026-03-30", "2026-10-23", "2026-10-26"]) == [
        "2026-03-27T15:00:00Z",
        "2026-03-30T14:00:00Z",
        "2026-10-23T14:00:00Z",
        "2026-10-26T15:00:00Z",
    ]
