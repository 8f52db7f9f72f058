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
    assert "tries" in shown
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


A, B, C = "bonds/bonds/0/1/1", "bonds/bonds/0/2/1", "bonds/bonds/0/3/1"


@pytest.fixture
def letters(lake):
    """Three of a file, one of Kafka that a replay refused again, one that was replayed."""
    place = {"file": "/data/in/bonds.jsonl", "stage": "column"}
    add_dead_letters(
        lake,
        dead_letter(A, **place, line=7, reason="bonds.coupon (c): not a number, at byte 7"),
        dead_letter(B, **place, line=8, reason="bonds.coupon (c): not a number, at byte 9"),
        dead_letter(C, stage="json", reason="not JSON, at byte 1"),
        dead_letter("d"),
    )
    add_dead_letters(lake, dead_letter("d", "replayed", epoch=2))
    told = {"stage": "key", "reason": "bonds.isin: missing", "value": None}
    add_dead_letters(lake, dead_letter(C, "refused", epoch=3, **told))


def listed(bitlake, *words):
    return bitlake("dead-letters", "list", "--output", "json", *words).json


def test_list_tells_file_and_line(letters, bitlake):
    rows = {row["id"]: row for row in listed(bitlake)}
    assert [(rows[id_]["file"], rows[id_]["line"]) for id_ in (A, B, C)] == [
        ("/data/in/bonds.jsonl", 7), ("/data/in/bonds.jsonl", 8), (None, None),
    ]  # fmt: skip
    assert "/data/in/bonds.jsonl" in bitlake("dead-letters", "list").out
    assert "bonds.jsonl" in bitlake("dead-letters", "show", A).out
    for name in ("bonds.jsonl", "in/bonds.jsonl", "/data/in/bonds.jsonl"):
        assert [row["id"] for row in listed(bitlake, "--file", name)] == [A, B]
    assert listed(bitlake, "--file", "onds.jsonl") == []
    found = bitlake(
        "sql", "SELECT file, line FROM bitlake.dead_letters WHERE line = 8", "--output", "json"
    ).json
    assert found == [{"file": "/data/in/bonds.jsonl", "line": 8}]


def test_the_newest_reason_is_told_with_the_number_of_tries(letters, bitlake):
    (row,) = listed(bitlake, "--stage", "key")
    assert (row["id"], row["reason"], row["tries"]) == (C, "bonds.isin: missing", 2)
    assert row["last_try"] == "2024-01-01T00:00:00.000000Z"
    assert row["value"] == '{"isin": \ufffd'
    assert "bonds.isin: missing" in bitlake("dead-letters", "show", C).out


def test_the_end_of_a_long_name_is_told_in_tables(lake, bitlake):
    add_dead_letters(lake, dead_letter("a", file="/" + "x" * 80 + "/bonds.jsonl", line=1))
    assert "x/bonds.jsonl" in bitlake("dead-letters", "list").out


def test_dismiss(letters, bitlake):
    done = bitlake("dead-letters", "dismiss", A, C, "--reason", "sent again", "--output", "json")
    assert (done.status, done.json) == (0, {"dismissed": 2})
    assert [row["id"] for row in listed(bitlake)] == [B]
    assert bitlake("status", "--output", "json").json[0]["dead_letters"] == 1
    told = {row["id"]: row for row in listed(bitlake, "--status", "dismissed")}
    assert told.keys() == {A, C}
    assert (told[A]["status"], told[A]["dismissed_reason"]) == ("dismissed", "sent again")
    assert "@" in told[A]["dismissed_by"]
    assert told[A]["status_at"] > "2026"
    assert {(row["id"], row["status"]) for row in listed(bitlake, "--all")} == {
        (A, "dismissed"), (B, "dead"), (C, "dismissed"), ("d", "replayed"),
    }  # fmt: skip
    assert len(listed(bitlake, "--status", "all")) == 4
    assert [row["id"] for row in listed(bitlake, "--status", "replayed")] == ["d"]
    assert "sent again" in bitlake("dead-letters", "list", "--all").out
    assert "sent again" in bitlake("dead-letters", "show", A).out
    assert bitlake("dead-letters", "dismiss", "--file", "bonds.jsonl", "--reason", "x").status == 0
    assert listed(bitlake) == []
    assert bitlake("dead-letters", "list").status == 0


def test_what_can_not_be_dismissed(letters, bitlake):
    for words, told in (
        (["x"], "There is no dead letter 'x'"),
        (["d"], "'d' was replayed at 2024-01-01"),
        ([A, "d"], "Nothing was dismissed"),
        (["--dataset", "bond"], "'bonds'"),
        (["--stage", "nope"], "No step is called 'nope'"),
    ):
        result = bitlake("dead-letters", "dismiss", *words, "--reason", "y")
        assert (result.status, told in result.err) == (1, True), result.err
    assert bitlake("dead-letters", "dismiss", A, "--reason", " ").status == 1
    for usage in ([A], ["--reason", "y"]):
        assert bitlake("dead-letters", "dismiss", *usage).status == 2
    assert len(listed(bitlake)) == 3


def test_status_tells_reasons(letters, lake, bitlake):
    bonds, empty = bitlake("status", "--output", "json").json
    assert bonds["dead_letter_reasons"] == [
        {"stage": "column", "reason": "bonds.coupon (c): not a number", "letters": 2},
        {"stage": "key", "reason": "bonds.isin: missing", "letters": 1},
    ]
    assert (bonds["dead_letters"], empty["dead_letter_reasons"]) == (3, [])
    assert "column: bonds.coupon (c): not a number=2" in bitlake("status").out
    rows = bitlake("dead-letters", "list", "--summary", "--output", "json").json
    assert [(row["dataset"], row["letters"], row["advice"]) for row in rows] == [
        ("bonds", 2, "send JSON"), ("bonds", 1, "send JSON"),
    ]  # fmt: skip
    assert bitlake("dead-letters", "list", "--summary", "--dataset", "bond").status == 1
    add_dead_letters(lake, *(dead_letter(f"{n}", reason=f"f{chr(97 + n)}: new") for n in range(26)))
    add_dead_letters(lake, *(dead_letter(f"x{n}", reason=f"g{chr(97 + n)}: new") for n in range(26)))
    many = bitlake("status", "--output", "json").json[0]
    assert len(many["dead_letter_reasons"]) == 51
    assert many["dead_letter_reasons"][-1] == {"stage": None, "reason": "other reasons", "letters": 4}
    assert sum(one["letters"] for one in many["dead_letter_reasons"]) == many["dead_letters"] == 55


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        (['calls: two elements have the key "a"', 'calls: two elements have the key "b\\"c"'], ["calls: two elements have the key …"]),
        (["calls: the key 2024-01-01 twice", "calls: the key 2024-01-02 twice"], ["calls: the key … twice"]),
        (["c_1: no number", "c_2: no number"], ["c_1: no number", "c_2: no number"]),
        (["more than 64 KiB", "more than 64 KiB, at byte 3"], ["more than 64 KiB"]),
    ],
)  # fmt: skip
def test_reasons_of_one_kind_are_counted_together(lake, bitlake, reasons, told):
    add_dead_letters(lake, *(dead_letter(f"{n}", reason=reason) for n, reason in enumerate(reasons)))
    rows = bitlake("dead-letters", "list", "--summary", "--output", "json").json
    assert [row["reason"] for row in rows] == told
    assert sum(row["letters"] for row in rows) == len(reasons)
