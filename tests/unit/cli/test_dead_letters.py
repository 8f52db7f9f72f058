"""`bitlake dead-letters`."""

import pytest

from tests.unit.cli.conftest import add_dead_letters, dead_letter


def test_none_before_the_first_load(lake, bitlake):
    assert bitlake("dead-letters", "list", "--output", "json").json == []


def test_list_hides_what_was_replayed(lake, bitlake):
    add_dead_letters(
        lake, dead_letter("a"), dead_letter("b"), dead_letter("c", stage="column", dataset="other")
    )
    add_dead_letters(lake, dead_letter("b", "replayed", epoch=2))
    rows = bitlake("dead-letters", "list", "--output", "json").json
    assert [row["id"] for row in rows] == ["a", "c"]
    assert rows[0]["value"] == '{"isin": \ufffd'
    assert rows[0]["timestamp"] == "2024-01-01T00:00:00.000000Z"
    for words, ids in (
        (["--dataset", "bonds"], ["a"]),
        (["--stage", "column"], ["c"]),
        (["--limit", "1"], ["a"]),
        (["--dataset", "bonds", "--stage", "column"], []),
    ):
        found = bitlake("dead-letters", "list", "--output", "json", *words).json
        assert [row["id"] for row in found] == ids
    assert bitlake("status", "--output", "json").json[0]["dead_letters"] == 1
    assert "not JSON" in bitlake("dead-letters", "list").out


def test_show_tells_everything(lake, bitlake):
    add_dead_letters(lake, dead_letter("bonds/bonds/0/7/1"))
    shown = bitlake("dead-letters", "show", "bonds/bonds/0/7/1").out
    assert "send JSON" in shown
    assert "offset" in shown


def test_show_of_none_says_so(lake, bitlake):
    result = bitlake("dead-letters", "show", "x")
    assert result.status == 1
    assert "dead-letters list" in result.err


def test_of_a_dataset_that_is_not_there(lake, bitlake):
    add_dead_letters(lake, dead_letter("c", dataset="gone"))
    assert bitlake("dead-letters", "list", "--dataset", "gone", "--output", "json").json[0]["id"] == "c"
    result = bitlake("dead-letters", "list", "--dataset", "bond")
    assert result.status == 1
    assert "'bonds'" in result.err


@pytest.mark.parametrize("command", ["list", "replay"])
def test_of_a_step_that_is_not_there(lake, bitlake, command):
    result = bitlake("dead-letters", command, "--stage", "nope")
    assert result.status == 1
    assert "No step is called 'nope'" in result.err
    assert "valid time" in result.err
