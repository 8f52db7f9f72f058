"""`bitlake load` with dead letters, and `bitlake dead-letters replay`."""

import pytest

LAKE = """\
catalog: {{name: lake, type: sql, uri: "sqlite:///catalog.db", warehouse: warehouse}}
datasets:
  - name: bonds
    table: ref.bonds
    key: [isin]
    valid_from: from
    on_new_field: {on_new_field}
"""
LINES = '{"isin": "A", "from": "2024-01-01"}\n{"isin": "B", "from": "2024-01-01", "level": 2}\nnot JSON\n'


@pytest.fixture
def loaded(tmp_path, monkeypatch, bitlake):
    """What a load of a good record and two bad ones leaves; lake.yaml is mended after it."""
    (tmp_path / "lake.yaml").write_text(LAKE.format(on_new_field="dead_letter"))
    (tmp_path / "records.jsonl").write_text(LINES)
    monkeypatch.chdir(tmp_path)
    result = bitlake("load", "bonds", "records.jsonl", "--output", "json", "--fail-on-dead-letters")
    (tmp_path / "lake.yaml").write_text(LAKE.format(on_new_field="evolve"))
    return result


def counts(records, changes, no_ops, dead_letters, versions, epochs):
    return {"records": records, "changes": changes, "no_ops": no_ops} | {
        "dead_letters": dead_letters,
        "versions": versions,
        "epochs": epochs,
    }


def test_load_counts_and_fails_on_dead_letters_only_if_asked(loaded, bitlake):
    assert (loaded.status, loaded.json) == (1, counts(3, 1, 0, 2, 1, 1))
    again = bitlake("load", "bonds", "records.jsonl", "--output", "json")
    assert (again.status, again.json) == (0, counts(3, 1, 1, 1, 1, 1))
    assert bitlake("load", "bonds", "records.jsonl").err.count("dead-letters list --dataset bonds") == 1


def test_replay_by_id_stage_and_all(loaded, bitlake):
    waiting = bitlake("dead-letters", "list", "--output", "json").json
    by_stage = {row["stage"]: row["id"] for row in waiting}

    refused = bitlake("dead-letters", "replay", by_stage["json"], "--output", "json")
    assert (refused.status, refused.json) == (1, counts(1, 0, 0, 1, 0, 1))
    done = bitlake("dead-letters", "replay", "--stage", "new field", "--dataset", "bonds", "--output", "json")
    assert (done.status, done.json) == (0, counts(1, 1, 0, 0, 1, 1))
    again = bitlake("dead-letters", "replay", by_stage["new field"], "--output", "json")
    assert (again.status, again.json) == (0, counts(0, 0, 0, 0, 0, 0))
    told = bitlake("dead-letters", "replay")
    assert told.status == 1
    assert "bitlake dead-letters list" in told.err
    assert [row["id"] for row in bitlake("dead-letters", "list", "--output", "json").json] == [
        by_stage["json"]
    ]
    assert bitlake("timeline", "bonds", "--key", "isin=B", "--output", "json").json[0]["level"] == 2


def test_replay_succeeds_if_some_are_applied_unless_told_otherwise(loaded, bitlake):
    result = bitlake("dead-letters", "replay", "--output", "json")
    assert (result.status, result.json) == (0, counts(2, 1, 0, 1, 1, 1))
    (left,) = bitlake("dead-letters", "list", "--output", "json").json
    assert (left["stage"], left["tries"]) == ("json", 2)


def test_replay_fails_on_dead_letters_if_asked(loaded, bitlake):
    result = bitlake("dead-letters", "replay", "--fail-on-dead-letters", "--output", "json")
    assert (result.status, result.json["changes"], result.json["dead_letters"]) == (1, 1, 1)


def test_replay_of_what_is_not_there(loaded, bitlake):
    for words, told in ((["x"], "dead-letters list"), (["--dataset", "bond"], "bonds")):
        result = bitlake("dead-letters", "replay", *words)
        assert result.status == 1
        assert told in result.err


def test_nothing_to_replay_before_the_first_load(lake, bitlake):
    assert bitlake("dead-letters", "replay", "--output", "json").json == counts(0, 0, 0, 0, 0, 0)
