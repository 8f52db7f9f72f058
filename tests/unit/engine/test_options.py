"""What lake.yaml says reaches the decoder of both runtimes."""

from pathlib import Path

from pipeline.config import parse_config
from pipeline.engine.options import decode_options

LAKE = """
datasets:
  - name: ticks
    table: m.ticks
    key: [symbol]
    valid_from: ts
    time_precision: truncate
    columns:
      received: {path: meta.ts, type: timestamp, time_precision: truncate}
      sent: timestamp
    children:
      - path: legs
        columns:
          at: {type: timestamp, time_precision: truncate}
        children:
          - path: fills
            columns:
              done: {path: ".", type: timestamp, time_precision: truncate}
"""


def test_the_times_to_truncate_travel() -> None:
    (config,) = parse_config(LAKE, base=Path("/"), environ={}).datasets
    options = decode_options(config, envelope=False)
    assert options.truncate_valid
    assert options.truncated_times == {
        ((), ("meta", "ts")),
        ((("legs",),), ("at",)),
        ((("legs",), ("fills",)), ()),
    }


def test_times_are_exact_by_default() -> None:
    (config,) = parse_config(LAKE.replace("truncate", "exact"), base=Path("/"), environ={}).datasets
    options = decode_options(config, envelope=False)
    assert (options.truncate_valid, options.truncated_times) == (False, frozenset())
