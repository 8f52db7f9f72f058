"""Trino: SQL over the tables of the stack's catalogs."""

import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stack.downloads import unpacked
from stack.java import java
from stack.postgres import PASSWORD, USER, PostgreSQL
from stack.probes import asked
from stack.processes import Command
from stack.seaweedfs import ACCESS_KEY, REGION, SECRET_KEY, TABLE_BUCKET, SeaweedFS
from stack.server import HOST, Server

_PLUGIN = "iceberg"
_JAVA = (
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-OmitStackTraceInFastThrow",
    "-XX:ReservedCodeCacheSize=256M",
    "-Djdk.attach.allowAttachSelf=true",
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


class Trino(Server):
    """A coordinator that does the work, too. Its catalogs: `lake` (REST), `postgres` (JDBC)."""

    kind = "trino"
    own_ports: ClassVar[tuple[str, ...]] = ("http",)

    def __init__(
        self,
        name: str,
        folder: Path,
        ports: Mapping[str, int],
        *,
        heap: str = "2g",
        files: SeaweedFS | None = None,
        postgres: PostgreSQL | None = None,
    ) -> None:
        super().__init__(name, folder, ports)
        self.memory = heap
        self._files = files
        self._postgres = postgres

    @classmethod
    def fetch(cls) -> None:
        """Bring Trino, and the Java it wants."""
        _distribution()
        java(25)

    def prepare(self) -> None:
        """Write its configuration."""
        catalogs = self._etc / "catalog"
        shutil.rmtree(self._etc, ignore_errors=True)
        catalogs.mkdir(parents=True)
        _write(self._etc / "config.properties", self._settings())
        (self._etc / "log.properties").write_text("io.trino=WARN\nio.airlift=WARN\nBootstrap=WARN\n")
        if self._files is not None:
            _write(catalogs / "lake.properties", _rest(self._files))
            if self._postgres is not None:
                _write(catalogs / "postgres.properties", _jdbc(self._postgres, self._files))

    def command(self) -> Command:
        """Its server class."""
        properties = {
            "config": self._etc / "config.properties",
            "log.levels-file": self._etc / "log.properties",
            "node.environment": "bitlake",
            "node.id": self.name,
            "node.data-dir": self.folder / "data",
            "node.internal-address": HOST,
            "node.bind-ip": HOST,
        }
        options = [f"-Xmx{self.memory}", *_JAVA, *(f"-D{name}={value}" for name, value in properties.items())]
        path = f"{_distribution() / 'lib'}/*"
        return Command([java(25), *options, "-cp", path, "io.trino.server.TrinoServer"])

    def healthy(self) -> bool:
        """Whether it says that it has started."""
        told = asked(f"{self.address}/v1/info")
        return told is not None and told["starting"] is False

    def addresses(self) -> dict[str, str]:
        """For clients, and the web page."""
        return {"http": self.address}

    @property
    def address(self) -> str:
        """For clients."""
        return f"http://{HOST}:{self.ports['http']}"

    @property
    def _etc(self) -> Path:
        return self.folder / "etc"

    def _settings(self) -> dict[str, str]:
        return {
            "coordinator": "true",
            "node-scheduler.include-coordinator": "true",
            "http-server.http.port": str(self.ports["http"]),
            "discovery.uri": self.address,
            "plugin.dir": str(_distribution() / "plugin"),
            "catalog.config-dir": str(self._etc / "catalog"),
            "query.max-memory-per-node": "40%",
            "memory.heap-headroom-per-node": "30%",
            "catalog.management": "static",
        }


def _rest(files: SeaweedFS) -> dict[str, str]:
    return {
        "connector.name": "iceberg",
        "iceberg.catalog.type": "rest",
        "iceberg.rest-catalog.uri": files.iceberg,
        "iceberg.rest-catalog.warehouse": f"s3://{TABLE_BUCKET}",
        "iceberg.rest-catalog.security": "OAUTH2",
        "iceberg.rest-catalog.oauth2.credential": f"{ACCESS_KEY}:{SECRET_KEY}",
        "iceberg.rest-catalog.oauth2.server-uri": f"{files.iceberg}/v1/oauth/tokens",
        **_s3(files),
    }


def _jdbc(postgres: PostgreSQL, files: SeaweedFS) -> dict[str, str]:
    return {
        "connector.name": "iceberg",
        "iceberg.catalog.type": "jdbc",
        "iceberg.jdbc-catalog.catalog-name": "lake",
        "iceberg.jdbc-catalog.schema-version": "V1",
        "iceberg.jdbc-catalog.driver-class": "org.postgresql.Driver",
        "iceberg.jdbc-catalog.connection-url": postgres.jdbc,
        "iceberg.jdbc-catalog.connection-user": USER,
        "iceberg.jdbc-catalog.connection-password": PASSWORD,
        "iceberg.jdbc-catalog.default-warehouse-dir": postgres.sql_catalog(files)["warehouse"],
        **_s3(files),
    }


def _s3(files: SeaweedFS) -> dict[str, str]:
    return {
        "fs.native-s3.enabled": "true",
        "fs.hadoop.enabled": "true",  # for tables on file://
        "s3.endpoint": files.s3,
        "s3.region": REGION,
        "s3.path-style-access": "true",
        "s3.aws-access-key": ACCESS_KEY,
        "s3.aws-secret-key": SECRET_KEY,
    }


def _write(file: Path, properties: Mapping[str, str]) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))


def _distribution() -> Path:
    return unpacked("trino", _unpack)


def _unpack(archive: Path, folder: Path) -> None:
    """The server and the plugin for Iceberg; the others go again: files are linked across plugins."""
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    for part in ("lib", "plugin"):
        (root / part).rename(folder / part)
    shutil.rmtree(root)
    for plugin in (folder / "plugin").iterdir():
        if plugin.name != _PLUGIN:
            shutil.rmtree(plugin)
