"""What the configuration says of a dataset, in the decoder's terms."""

from pipeline.config import DatasetConfig, TimePrecision, ValidTime, dataset_schema
from pipeline.config.compile import truncated_columns
from pipeline.decode.options import DecodeOptions
from pipeline.sink.partitions import reserved_names


def decode_options(config: DatasetConfig, *, envelope: bool) -> DecodeOptions:
    """How the dataset's records are read."""
    return DecodeOptions(
        valid_from=config.valid_from,
        valid_to=config.valid_to,
        valid_unit=config.valid_unit.value if config.valid_unit else None,
        operation=config.operation,
        dated=config.valid_time is ValidTime.DATE,
        envelope=envelope,
        truncate_valid=config.time_precision is TimePrecision.TRUNCATE,
        truncated_times=truncated_columns(config),
        on_new_field=config.on_new_field.value,
        truncated=tuple((f.column, f.size) for f in config.partition_by if f.transform == "truncate"),
        reserved=reserved_names(dataset_schema(config), config.partitions),
    )
