"""The catalog of lake.yaml in the terms of Iceberg's Java library."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import make_url

from pipeline.errors import BadConfiguration

_RENAMED = {"s3.region": "client.region", "s3.role-arn": "client.assume-role.arn"}
_S3 = "org.apache.iceberg.aws.s3.S3FileIO"
_OURS = ("py-io-impl", "py-catalog-impl", "type", "name")


def catalog_loader(java: Any, config: Mapping[str, str]) -> Any:
    """A Java `CatalogLoader` for the ``catalog`` section of lake.yaml.

    Raises:
        BadConfiguration: Flink can't use a catalog of this kind.
    """
    loader = java.org.apache.iceberg.flink.CatalogLoader
    name, kind, properties = java_properties(config)
    # Every operator holds several copies of it, hundreds of defaults each, which S3FileIO does not ask for.
    hadoop = java.org.apache.hadoop.conf.Configuration(properties.get("io-impl") != _S3)
    if kind == "rest":
        return loader.rest(name, hadoop, properties)
    return loader.custom(name, properties, hadoop, "org.apache.iceberg.jdbc.JdbcCatalog")


def java_properties(config: Mapping[str, str]) -> tuple[str, str, dict[str, str]]:
    """The catalog's name, its kind (``rest`` or ``jdbc``), and its properties as Java spells them."""
    properties = {key: str(value) for key, value in config.items() if value is not None}
    name, uri = properties.get("name", "lake"), properties.get("uri", "")
    kind = properties.get("type", "rest" if uri.startswith("http") else "sql")
    given = {_RENAMED.get(key, key): value for key, value in properties.items() if key not in _OURS}
    if any(key.startswith("s3.") for key in properties) or properties.get("warehouse", "").startswith("s3"):
        given.setdefault("io-impl", _S3)
        given.setdefault("client.region", "us-east-1")
        if "s3.endpoint" in given:
            given.setdefault("s3.path-style-access", "true")
    if kind == "rest":
        return name, kind, given
    url = make_url(uri) if uri else None
    if kind != "sql" or url is None or url.get_backend_name() != "postgresql":
        raise BadConfiguration(
            f"Flink can't use this catalog: {kind} {uri.partition(':')[0]}",
            next_step="use a REST catalog, or a sql one on PostgreSQL: other processes have to reach it",
        )
    where = f"{url.host or '127.0.0.1'}:{url.port or 5432}"
    given |= {"uri": f"jdbc:postgresql://{where}/{url.database}", "jdbc.schema-version": "V1"}
    if url.username:
        given["jdbc.user"] = url.username
    if url.password:
        given["jdbc.password"] = str(url.password)
    given.setdefault("clients", "1")  # every writer and committer has connections of its own
    return name, "jdbc", given
