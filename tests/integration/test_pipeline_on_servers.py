"""The whole pipeline on catalogs and warehouses that are servers, against the naive model."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.model.strategies import random_stream
from tests.property.differential import differences
from tests.servers import PostgreSQL, SeaweedFS

SEEDS = {"postgresql-local": 21, "postgresql-s3": 22, "rest-s3": 23}


def _catalog(kind: str, postgres: PostgreSQL, seaweed: SeaweedFS, folder: Path) -> dict[str, Any]:
    if kind == "rest-s3":
        return {"name": "lake", **seaweed.rest_catalog}
    catalog = {
        "name": uuid.uuid4().hex,
        "type": "sql",
        "uri": postgres.uri,
        "warehouse": str(folder / "warehouse"),
    }
    if kind == "postgresql-s3":
        catalog |= seaweed.s3_properties | {"warehouse": f"s3://{seaweed.bucket}/{uuid.uuid4().hex}"}
    return catalog


@pytest.mark.servers
@pytest.mark.parametrize("kind", SEEDS)
def test_histories_equal_the_model(
    kind: str, postgres: PostgreSQL, seaweed: SeaweedFS, tmp_path: Path
) -> None:
    namespace = f"n{uuid.uuid4().hex[:12]}"
    stream = random_stream(SEEDS[kind], 60)
    stream = replace(stream, entry={**stream.entry, "table": f"{namespace}.bonds"})
    settings = {
        "catalog": _catalog(kind, postgres, seaweed, tmp_path),
        "dead_letters": {"table": f"{namespace}.dead_letters"},
    }
    assert differences(tmp_path, stream, seed=1, settings=settings, rebuild=True) == []
