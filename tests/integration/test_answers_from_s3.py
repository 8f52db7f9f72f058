"""Questions to tables in an object store."""

import pytest
from pyiceberg.catalog import load_catalog

from tests.servers import seaweedfs
from tests.unit.query.belief import NO_END, Version
from tests.unit.query.lakes import (
    answers_of,
    create,
    rows_of,
    system_us,
    table_schema,
    valid_day,
    versions_in,
)

SCHEMA = table_schema({"isin": "string"}, {"level": "long"})
OPEN = [Version(f"K{i:05d}", i, 0, NO_END, 1, NO_END) for i in range(20_000)]
CLOSED = [v._replace(system_to=2) for v in OPEN[::2]]


@pytest.mark.servers
def test_answers_from_s3(tmp_path):
    with seaweedfs(tmp_path) as server:
        catalog = load_catalog(
            "lake", type="sql", uri=f"sqlite:///{tmp_path}/catalog.db",
            warehouse=f"s3://{server.bucket}/warehouse", **server.s3_properties,
        )  # fmt: skip
        catalog.create_namespace("ref")
        table = create(catalog, SCHEMA)
        for part in (OPEN[:9_000], OPEN[9_000:], CLOSED):
            table.append(rows_of(part, SCHEMA))
        answers = answers_of(table)
        assert versions_in(answers.asof(valid_day(3), system_us(2))) == OPEN[1::2]
        assert versions_in(answers.history(key={"isin": "K00002"})) == [CLOSED[1]]
        assert answers.diff(system_us(1), system_us(2)).num_rows == len(CLOSED)
