"""A Flink job for a test: numbers through a Python function into a table of each catalog named in the request."""

import json
import sys
from urllib.parse import urlparse

from pyflink.common import Configuration
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf


@udf(result_type=DataTypes.STRING())
def in_brackets(number: int) -> str:
    return f"<{number}>"


def main() -> None:
    request = json.loads(sys.argv[1])
    address = urlparse(request["rest"])
    configuration = Configuration()
    for name, value in {
        "execution.target": "remote",
        "rest.address": address.hostname,
        "rest.port": str(address.port),
        "parallelism.default": "1",
        "execution.checkpointing.interval": "1s",
    }.items():
        configuration.set_string(name, value)
    settings = (
        EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    )
    tables = TableEnvironment.create(settings)
    tables.create_temporary_function("in_brackets", in_brackets)
    tables.execute_sql(
        "CREATE TEMPORARY TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '200',"
        " 'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '200')"
    )
    inserts = tables.create_statement_set()
    for catalog, properties in request["catalogs"].items():
        options = ", ".join(f"'{name}' = '{value}'" for name, value in properties.items())
        target = f"`{catalog}`.`{request['namespace']}`"
        tables.execute_sql(f"CREATE CATALOG `{catalog}` WITH ({options})")
        tables.execute_sql(f"CREATE DATABASE IF NOT EXISTS {target}")
        tables.execute_sql(f"CREATE TABLE {target}.`numbers` (writer STRING, number BIGINT)")
        inserts.add_insert_sql(f"INSERT INTO {target}.`numbers` SELECT in_brackets(n), n FROM numbers")
    inserts.execute().wait()


if __name__ == "__main__":
    main()
