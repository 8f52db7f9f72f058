"""lake.yaml: reading, checking, and what it declares."""

from pipeline.config.compile import child_column_name, dataset_schema, partition_fields
from pipeline.config.load import DEFAULT_FILE, load_config, parse_config
from pipeline.config.mistakes import ConfigErrors, Mistake
from pipeline.config.models import (
    ChildConfig,
    ColumnConfig,
    DatasetConfig,
    LakeConfig,
    Mode,
    OnNewField,
    TimePrecision,
    ValidEnd,
    ValidTime,
    ValidUnit,
)
from pipeline.config.partitions import PartitionField
from pipeline.config.secrets import redacted

__all__ = [
    "DEFAULT_FILE",
    "ChildConfig",
    "ColumnConfig",
    "ConfigErrors",
    "DatasetConfig",
    "LakeConfig",
    "Mistake",
    "Mode",
    "OnNewField",
    "PartitionField",
    "TimePrecision",
    "ValidEnd",
    "ValidTime",
    "ValidUnit",
    "child_column_name",
    "dataset_schema",
    "load_config",
    "parse_config",
    "partition_fields",
    "redacted",
]
