"""The lake.yaml that `bitlake init` writes: complete, valid, every setting with what it means."""

TEMPLATE = """\
# A lake of bi-temporal tables. `bitlake config check` explains every mistake; `bitlake infer FILE` writes
# a dataset from data. Any setting can come from the environment: BITLAKE__CATALOG__URI=... (secrets should).

catalog:                         # given to pyiceberg's load_catalog as it is: sql, rest, glue, hive ...
  name: lake
  type: sql
  uri: sqlite:///.bitlake/catalog.db          # relative to this file
  warehouse: .bitlake/warehouse               # relative to this file; or s3://bucket/folder
state: .bitlake/state            # what is believed now, by key: a RocksDB directory
# state_memory: 4GB              # default: half of the machine's
# kafka:                         # client properties by their Kafka names; only for `bitlake run`
#   bootstrap.servers: 127.0.0.1:9092

commit:                          # an epoch (one commit) ends ...
  records: 500000                # ... at this many records
  seconds: 10                    # ... or after this long, whichever comes first
  # memory: 1GB                  # ... or when the epochs of all datasets hold this; default: a quarter of it
time:
  max_ahead: 1h                  # a record from further in the future is a dead letter
  idle_margin: 5s                # how far behind "now" the horizon of a drained partition stays
dead_letters:                    # records that could not be applied, with the reason
  table: bitlake.dead_letters
  topic: null                    # or a Kafka topic pattern such as "{topic}.dlq"

datasets:
  - name: bonds                  # what commands call it
    # topic: bonds               # Kafka topic; default: the name
    table: ref.bonds             # Iceberg identifier: namespace.table
    key: [isin]                  # paths into the JSON value; several make a composite key
    valid_from: effective.from   # path of an ISO date or timestamp, or of an integer (see valid_unit)
    valid_to: effective.to       # optional; missing or null: none given
    valid_end: next_change       # what none given means: until the next change; or forever
    valid_time: date             # or timestamp
    # valid_unit: ms             # s, ms, us or ns: what integers in valid_from and valid_to count since 1970
    operation: action            # optional path: put, patch, delete, terminate or retract; missing: put
    columns:                     # declared types; other fields follow on_new_field
      coupon: {path: terms.coupon, type: "decimal(12,6)"}
      issuer: string             # short form: the path is the name
    on_new_field: evolve         # a new field becomes a column; or ignore, dead_letter
    children:
      - path: calls              # a nested array becomes the table ref.bonds__calls
        key: [call_date]         # none: the position in the array
        columns:
          call_date: date
          price: "decimal(12,6)"
    mode: append                 # or upsert: superseded rows are replaced
    state_ttl: null              # such as 30d: idle keys leave the state, and are read back when needed
    # partition_by: ["bucket(8, isin)"]       # worth it from some ten million rows
"""
