"""Every mistake is told at its line, with what to write instead."""

import os
from pathlib import Path
from textwrap import dedent

import pytest

from pipeline.config import ConfigErrors, Mistake, load_config, parse_config
from pipeline.errors import BadConfiguration, Category

DATASET = """\
datasets:
  - name: bonds
    table: ref.bonds
    key: [isin]
    valid_from: effective.from
"""


def mistakes(text: str, environ: dict[str, str] | None = None) -> tuple[Mistake, ...]:
    with pytest.raises(ConfigErrors) as caught:
        parse_config(text, base=Path("/lake"), environ=environ or {})
    return caught.value.mistakes


def one(text: str) -> Mistake:
    (found,) = mistakes(text)
    return found


SHAPE = [
    # what is added after the dataset's five lines, line, column, path, message, fix
    ("    kye: x", 6, 5, "datasets[0].kye", "no setting 'kye'", "did you mean 'key'?"),
    ("    mode: upsrt", 6, 11, "datasets[0].mode", "'upsrt' is not one of append or upsert", "'upsert'"),
    ("    valid_end: always", 6, 16, "datasets[0].valid_end", "not one of", "next_change or forever"),
    ("    valid_unit: sec", 6, 17, "datasets[0].valid_unit", "not one of", "use s, ms, us or ns"),
    ("    time_precision: round", 6, 21, "datasets[0].time_precision", "not one of", "exact or truncate"),
    ("    columns:\n      a: {type: string, time_precision: truncate}", 7, 25, "datasets[0].columns.a.time_precision",
     "only a timestamp has digits to drop", "declare the column as timestamp"),
    ("    state_ttl: 30", 6, 16, "datasets[0].state_ttl", "needs a unit", "30d"),
    ("    state_ttl: 30 days", 6, 16, "datasets[0].state_ttl", "'30 days' is not a duration", "30d"),
    ("    valid_to: a..b", 6, 15, "datasets[0].valid_to", "empty step", "terms.coupon"),
    ("    valid_to: {a: b}", 6, 15, "datasets[0].valid_to", "not a path", "terms.coupon"),
    ("    columns: [a]", 6, 14, "datasets[0].columns", "is not a mapping", "name: value"),
    ("    columns:\n      a: text", 7, 10, "datasets[0].columns.a.type", "'text' is not a column type", "string"),
    ("    columns:\n      a: decimal(40,2)", 7, 10, "datasets[0].columns.a.type", "decimal(40,2)", "p up to 38"),
    ("    columns:\n      a: {path: b}", 7, 7, "datasets[0].columns.a", "'type' is missing", "add `type:`"),
    ("    columns:\n      a:\n        tpye: long\n        type: long", 8, 9, "datasets[0].columns.a.tpye",
     "no setting", "'type'"),
    ("    children:\n      - key: a", 7, 9, "datasets[0].children[0]", "'path' is missing", "where the array is"),
    ("    children: calls", 6, 15, "datasets[0].children", "is not a list", "with a dash"),
    ("    partition_by: [week(a)]", 6, 20, "datasets[0].partition_by[0]", "not a partition field", "bucket(8"),
    ("commit: {records: 0}", 6, 19, "commit.records", "'0' is too small", "at least 1"),
    ("commit: {records: many}", 6, 19, "commit.records", "'many' is not a whole number", "a whole number"),
    ("commit: {seconds: -1}", 6, 19, "commit.seconds", "too small", "greater than 0"),
    ("time:\n  max_ahed: 1h", 7, 3, "time.max_ahed", "no setting", "'max_ahead'"),
    ("dead_letters: {table: x}", 6, 23, "dead_letters.table", "namespace", "ref.bonds"),
    ('dead_letters: {topic: "{tpic}.dlq"}', 6, 23, "dead_letters.topic", "no pattern", "{topic}.dlq"),
    ("state_memory: lots", 6, 15, "state_memory", "'lots' is not a size", "4GB"),
    ("catalog: sqlite", 6, 10, "catalog", "mapping of settings", "name: value"),
    ("    children: [{path: isin}]", 4, 11, "datasets[0].key[0]", "can't be in the key", "another member"),
    ("datsets: []", 6, 1, "datsets", "no setting", "'datasets'"),
]  # fmt: skip


@pytest.mark.parametrize(("added", "line", "column", "path", "message", "fix"), SHAPE)
def test_a_malformed_setting(added: str, line: int, column: int, path: str, message: str, fix: str) -> None:
    found = one(DATASET + added + "\n")
    assert (found.line, found.column, found.path) == (line, column, path)
    assert message in found.message
    assert fix in found.fix


YAML = [
    ("a: [1, 2\nb: 3\n", 2, "brackets", "add the missing"),
    ("a: b: c\n", 1, "a `: `", "quote"),
    ("a:\n\t- b\n", 2, "tab", "spaces"),
    ("a: *b\n", 1, "starts with *", "quotes"),
    ("a: %b\n", 1, "can't start a value", "quotes"),
    ('a: "b\n', 2, "quote is not closed", "close it"),
    ("a: 1\na: 2\n", 2, "already given at line 1", "keep one"),
    ("a:\n  b: 1\n c: 2\n", 3, "indentation", "align"),
]


@pytest.mark.parametrize(("text", "line", "message", "fix"), YAML)
def test_text_that_is_not_yaml(text: str, line: int, message: str, fix: str) -> None:
    found = one(text)
    assert found.line == line
    assert message in found.message
    assert fix in found.fix


CROSS = [
    ("    valid_to: effective.from", 6, "valid_from has the same path", "own path"),
    ("    partition_by: [year(valid_from), month(valid_from)]", 6, "cut one column by time", "the finer one"),
    ("    columns:\n      c: {path: isin, type: long}\n      d: {path: isin, type: long}", 8, "already reads", "keep one"),
    ("    columns: {Valid_To: date}", 6, "taken by bitlake's own columns", "valid_to_: {path: Valid_To"),
    ("    columns:\n      coupon: long\n      Coupon: long", 8, "by case only", "another name"),
    ("    columns:\n      t: {path: terms, type: json}\n      u: {path: terms.x, type: long}", 8, "takes all of 'terms'",
     "keep the one"),
    ("    columns: {e: {path: effective, type: long}}", 5, "is a single value at 'effective', so nothing is left for valid_from", "keep the one"),
    ("    valid_to: calls.end\n    children: [{path: calls}]", 6, "lies in an array", "another member"),
    ("    children: [{path: c, columns: {x: long, all: {path: ., type: json}}}]", 6, "takes all of '.'", "keep the one"),
    ("    children: [{path: c, key: a.b, columns: {x: {path: a, type: string}}}]", 6, "nothing is left for the key 'a.b'", "keep the one"),
    ("    columns:\n      terms__coupon: long", 7, "nested value", "{path: terms.coupon, type: long}"),
    ("    columns:\n      a.b: long\n      a__b: {path: c, type: long}", 8, "two columns would have the name", "declare"),
    ("    columns: {calls: json}\n    children: [{path: calls}]", 7, "already reads 'calls'", "keep one"),
    ("    columns: {c: {path: calls.date, type: date}}\n    children: [{path: calls}]", 6, "lies in the array", "children"),
    ("    children: [{path: calls}, {path: calls}]", 6, "already reads", "keep one"),
    ("    children: [{path: c, key: [d, d]}]", 6, "already in the key", "remove"),
    ("    children:\n      - {path: a}\n      - {path: b, table: ref.bonds__a}", 8, "already writes the table", "another"),
    ("    partition_by: [issuer]", 6, "no column 'issuer'", "declare it"),
    ("    partition_by: [isni]", 6, "no column 'isni'", "'isin'"),
    ("    partition_by: [month(isin)]", 6, "month can't be used on string", "another column"),
    ("    partition_by: [isin, isin]", 6, "repeats", "remove"),
    ("    mode: upsert\n    partition_by: [month(valid_to)]", 7, "upsert mode", "isin, valid_from or system_from"),
    ("    columns: {c: {path: terms.c, type: long}}\n    children: [{path: x, key: c, columns: {c: {path: y, type: long}}}]",
     7, "is a column, but the key is given by paths", "write y"),
    ("dead_letters: {table: REF.bonds}", 3, "already writes the table", "another"),
    ("  - {name: Bonds, table: ref.b, key: a, valid_from: b}", 6, "already has the name", "rename"),
]  # fmt: skip


@pytest.mark.parametrize(("added", "line", "message", "fix"), CROSS)
def test_settings_that_do_not_go_together(added: str, line: int, message: str, fix: str) -> None:
    found = one(DATASET + added + "\n")
    assert found.line == line
    assert message in found.message
    assert fix in found.fix


def test_all_mistakes_are_told_at_once_in_the_order_of_lines() -> None:
    text = dedent("""\
        commit: {records: x}
        datasets:
          - name: 1st
            table: ref.a
            key: a
          - name: second
            table: ref.b
            key: b
            valid_from: c
            columns: {valid_from: date}
        nothing: 1
        """)
    assert [(m.line, m.path) for m in mistakes(text)] == [
        (1, "commit.records"),
        (3, "datasets[0]"),
        (3, "datasets[0].name"),
        (10, "datasets[1].columns.valid_from"),
        (11, "nothing"),
    ]


def test_a_mistake_under_an_alias_is_told_where_the_alias_stands() -> None:
    text = (
        DATASET
        + "    columns: &c {a: long}\n"
        + DATASET.partition("\n")[2].replace("bonds", "b2")
        + "    columns: *c\n"
    )
    config = parse_config(text, base=Path("/lake"), environ={})
    assert config.datasets[1].columns.keys() == {"a"}


def test_an_empty_file_asks_for_datasets() -> None:
    assert "'datasets' is missing" in one("").message
    assert "infer" in one("").fix
    assert "the list is empty" in one("datasets: []").message


def test_a_list_at_the_top_is_told() -> None:
    assert "not a mapping" in one("- a\n").message


def test_the_error_prints_file_line_and_fix() -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse_config(DATASET + "    mode: x\n", base=Path("/lake"), environ={}, file="my.yaml")
    assert "my.yaml has 1 mistake:\nmy.yaml:6:11: datasets[0].mode: " in str(caught.value)
    assert caught.value.category is Category.BAD_CONFIGURATION
    assert not caught.value.retryable


def test_a_missing_or_unreadable_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadConfiguration, match="does not exist") as caught:
        load_config(tmp_path / "lake.yaml", {})
    assert "bitlake init" in caught.value.next_step
    (tmp_path / "latin.yaml").write_bytes(b"state: \xe9")
    with pytest.raises(BadConfiguration, match="not UTF-8"):
        load_config(tmp_path / "latin.yaml", {})
    with pytest.raises(BadConfiguration, match="can't be read"):
        load_config(tmp_path, {})


def test_places_that_can_not_be_used() -> None:
    """A host in a file's location, a name that is not UTF-8, and a path that is too long."""
    hosted = one("catalog: {type: sql, uri: c.db, warehouse: 'file://lake/w'}\n" + DATASET)
    assert (hosted.line, hosted.path) == (1, "catalog.warehouse")
    assert "'lake' would be a host's name" in hosted.message
    for base, says in ((b"/lake/\xff", "not UTF-8"), (b"/x" * 1_500, "the path has")):
        with pytest.raises(ConfigErrors) as caught:
            parse_config(DATASET, base=Path(os.fsdecode(base)), environ={})
        assert says in caught.value.message


def test_a_character_in_two_escaped_halves_is_one_as_in_json() -> None:
    text = DATASET + r'    columns: {"\ud83d\ude00": string}'
    config = parse_config(text, base=Path("/lake"), environ={})
    assert list(config.datasets[0].columns) == ["\U0001f600"]
    half = one(DATASET + r'    columns: {"\ud83d": string}')
    assert (half.line, half.message) == (6, "an escape is half a character")


@pytest.mark.parametrize(
    "added",
    [
        "    columns: {e: {path: effective, type: json}}",
        "    columns: {e: {path: effective, type: json}}\n    valid_to: effective.to\n    operation: effective.op",
        "    columns:\n      all: {path: ids, type: json}\n      i: {path: ids.i, type: long}\n    key: [isin, ids.i]",
        "    children: [{path: c, key: [a.b], columns: {a: json, all: {path: x, type: json}}}]",
        "    children: [{path: c, key: [a.b], columns: {all: {path: ., type: json}}}]",
    ],
)
def test_keys_and_times_may_lie_in_a_json_column(added: str) -> None:
    lines = DATASET if "key: [isin, " not in added else DATASET.replace("    key: [isin]\n", "")
    assert parse_config(lines + added + "\n", base=Path("/lake"), environ={}).datasets
