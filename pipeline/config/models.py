"""lake.yaml as objects. Field names are the words a user writes; `bitlake config schema` prints them."""

from datetime import timedelta
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pipeline.config.mistakes import did_you_mean
from pipeline.config.secrets import Properties
from pipeline.config.values import (
    Duration,
    Name,
    Options,
    Partition,
    Path,
    Paths,
    Settings,
    Size,
    Table,
    Topic,
    TopicPattern,
    Type,
    is_name,
)
from pipeline.errors import BadInput

MICROSECOND = timedelta(microseconds=1)


class ValidEnd(StrEnum):
    """What a record without valid_to means."""

    NEXT_CHANGE = "next_change"
    FOREVER = "forever"


class ValidTime(StrEnum):
    """The resolution of valid time."""

    TIMESTAMP = "timestamp"
    DATE = "date"


class ValidUnit(StrEnum):
    """What an integer in valid_from and valid_to counts since 1970."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


class TimePrecision(StrEnum):
    """What happens to the digits of a time beyond microseconds."""

    EXACT = "exact"
    TRUNCATE = "truncate"


class OnNewField(StrEnum):
    """What happens to a field that no column is declared for."""

    EVOLVE = "evolve"
    IGNORE = "ignore"
    DEAD_LETTER = "dead_letter"


class Mode(StrEnum):
    """Whether superseded rows get a closed twin or are replaced."""

    APPEND = "append"
    UPSERT = "upsert"


class Part(BaseModel):
    """A mapping in lake.yaml: unknown names are mistakes, values don't change."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        defer_build=True,  # else each part is built for itself and again within the whole
    )


class ColumnConfig(Part):
    """A declared column."""

    model_config = ConfigDict(json_schema_extra={"required": ["type"]})

    path: Path = Field(description="where the value is; default: the column's name")
    type: Type = Field(description="such as string, long, decimal(12,6), date, timestamp, uuid or json")
    time_precision: TimePrecision = Field(
        default=TimePrecision.EXACT,
        description="of a timestamp: truncate drops digits beyond microseconds; exact refuses them",
    )


def _columns(value: Any) -> Any:
    """Short forms made long: ``issuer: string`` reads ``issuer``, ``terms.coupon: double`` deeper."""
    if not isinstance(value, dict):
        return value
    return {str(name): _column(str(name), spec) for name, spec in value.items()}


def _column(name: str, spec: Any) -> Any:
    if isinstance(spec, dict):
        return spec if "path" in spec else {"path": name, **spec}
    return {"path": name, "type": spec}


Columns = Annotated[
    dict[str, ColumnConfig], BeforeValidator(_columns, json_schema_input_type=dict[str, str | ColumnConfig])
]


class ChildConfig(Part):
    """A nested array that becomes a table of its own."""

    path: Path = Field(description="where the array is in its parent")
    key: Paths = Field(default=(), description="paths in the element; none: the position in the array")
    table: Table | None = Field(default=None, description="Iceberg identifier; default: <table>__<array>")
    columns: Columns = Field(default_factory=dict, description="declared columns of the elements")
    children: tuple["ChildConfig", ...] = Field(default=(), description="arrays in the elements")


class DatasetConfig(Part):
    """A named kind of record: where it comes from, its key, its valid time, its columns, its tables."""

    name: Name
    topic: Topic = Field(default="", description="Kafka topic; default: the name")
    table: Table = Field(description="Iceberg identifier, such as ref.bonds")
    key: Paths = Field(description="paths into the JSON value; several make a composite key")
    valid_from: Path = Field(
        description="path of an ISO-8601 date or timestamp, or of an integer with valid_unit"
    )
    valid_to: Path | None = Field(default=None, description="path; a missing or null value: none given")
    valid_unit: ValidUnit | None = Field(
        default=None, description="what integers in valid_from and valid_to count"
    )
    time_precision: TimePrecision = Field(
        default=TimePrecision.EXACT,
        description="of valid times: truncate drops digits beyond microseconds; exact refuses them",
    )
    valid_end: ValidEnd = ValidEnd.NEXT_CHANGE
    valid_time: ValidTime = ValidTime.TIMESTAMP
    operation: Path | None = Field(default=None, description="path; put, patch, delete, terminate or retract")
    columns: Columns = Field(default_factory=dict, description="declared columns; others follow on_new_field")
    on_new_field: OnNewField = OnNewField.EVOLVE
    children: tuple[ChildConfig, ...] = Field(default=(), description="nested arrays that become tables")
    mode: Mode = Mode.APPEND
    state_ttl: Duration | None = Field(default=None, description="idle keys leave the state after this long")
    partition_by: tuple[Partition, ...] = Field(
        default=(), description="such as bucket(8, isin), month(valid_from)"
    )

    @model_validator(mode="before")
    @classmethod
    def _topic_is_the_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("topic") is None:
            given = {name: value for name, value in data.items() if name != "topic"}
            return given | {"topic": data["name"]} if is_name(data.get("name")) else given
        return data

    @property
    def partitions(self) -> list[str]:
        """`partition_by` as lake.yaml spells it."""
        return [str(field) for field in self.partition_by]

    @property
    def state_ttl_us(self) -> int | None:
        """How long an idle key stays in the state, in microseconds; None: for good."""
        return None if self.state_ttl is None else self.state_ttl // MICROSECOND


class CommitConfig(Part):
    """When an epoch ends."""

    records: int = Field(default=500_000, ge=1, description="an epoch ends at this many records ...")
    seconds: float = Field(default=10, gt=0, description="... or after this long, whichever comes first")
    memory: Size | None = Field(
        default=None, description="or when the epochs of all datasets hold this much; default: a quarter"
    )


class TimeConfig(Part):
    """System time's limits."""

    max_ahead: Duration = Field(default=timedelta(hours=1), description="a later record is a dead letter")
    idle_margin: Duration = Field(
        default=timedelta(seconds=5), description="how far a drained partition's horizon lags"
    )

    @property
    def max_ahead_us(self) -> int:
        """`max_ahead` in microseconds."""
        return self.max_ahead // MICROSECOND

    @property
    def idle_margin_us(self) -> int:
        """`idle_margin` in microseconds."""
        return self.idle_margin // MICROSECOND


class DeadLettersConfig(Part):
    """Where records go that could not become a change."""

    table: Table = "bitlake.dead_letters"
    topic: TopicPattern | None = Field(default=None, description='a Kafka topic too, such as "{topic}.dlq"')

    def topic_of(self, dataset: "DatasetConfig") -> str | None:
        """The Kafka topic that a dataset's dead letters go to, too; None: none."""
        return None if self.topic is None else self.topic.replace("{topic}", dataset.topic)


def _local_catalog() -> Properties:
    return Properties(
        name="lake", type="sql", uri="sqlite:///.bitlake/catalog.db", warehouse=".bitlake/warehouse"
    )


class LakeConfig(Part):
    """A whole lake.yaml."""

    catalog: Settings = Field(default_factory=_local_catalog, description="given to pyiceberg's load_catalog")
    state: FilePath = Field(default=FilePath(".bitlake/state"), description="RocksDB directory")
    state_memory: Size | None = Field(
        default=None, description="memory for state; default: half of the machine's"
    )
    kafka: Settings = Field(default_factory=Properties, description="client properties by their Kafka names")
    commit: CommitConfig = CommitConfig()
    time: TimeConfig = TimeConfig()
    dead_letters: DeadLettersConfig = DeadLettersConfig()
    flink: Options = Field(
        default_factory=Properties, description="the Flink cluster, and Flink options by name"
    )
    datasets: tuple[DatasetConfig, ...] = Field(min_length=1)

    def dataset(self, name: str) -> DatasetConfig:
        """The dataset of this name.

        Raises:
            BadInput: when none has it.
        """
        for dataset in self.datasets:
            if dataset.name == name:
                return dataset
        advice = did_you_mean(name, [dataset.name for dataset in self.datasets])
        sentence = advice[0].upper() + advice[1:]
        raise BadInput(f"There is no dataset '{name}' in this lake.", next_step=sentence)
