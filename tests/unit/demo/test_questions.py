import shlex
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pyarrow as pa
import pytest
from rich.console import Console

from pipeline.demo.answers import MOST_ROWS, table_of
from pipeline.demo.place import DATASETS
from pipeline.demo.questions import QUESTIONS, Ask

ASKS = [ask for question in QUESTIONS for ask in question.asks]


def printed(table: object) -> str:
    console = Console(width=100, file=StringIO())
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("ask", ASKS, ids=lambda a: a.text)
def test_commands_name_a_dataset_and_can_be_pasted(ask: Ask):
    words = shlex.split(ask.text)

    assert words[:3] == ["bitlake", ask.command, ask.table]
    assert ask.table.partition("__")[0] in DATASETS
    assert all(name.startswith("--") for name in words[3::2])


def test_command_text():
    ask = Ask("asof", "reports", (), {"issuer": "Nordlicht AG"}, "2026-03-31", "2026-05-31T18:00:00Z")

    assert ask.text == (
        "bitlake asof reports --valid 2026-03-31 --system 2026-05-31T18:00:00Z --key 'issuer=Nordlicht AG'"
    )


def test_answer_shows_chosen_columns_and_no_end():
    rows = pa.table(
        {
            "rate": pa.array([Decimal("1.201000"), None], pa.decimal128(18, 6)),
            "hidden": ["x", "y"],
            "valid_from": [date(2015, 1, 14), date(2015, 1, 15)],
            "valid_to": pa.array([date(2015, 1, 15), None], pa.date32()),
            "system_from": pa.array([datetime(2015, 1, 14, 15, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "new": [{"rate": "1.2", "unit": "EUR"}, None],
        }
    )

    text = printed(table_of(rows, ("rate", "valid_from", "valid_to", "system_from", "new")))

    assert "1.201 " in text
    assert "∞" in text
    assert "2015-01-14 15:00" in text
    assert "unit=EUR" in text
    assert "rate=" not in text  # another column tells it
    assert "hidden" not in text


def test_long_answers_are_cut_and_say_so():
    assert "... and 4 more" in printed(table_of(pa.table({"n": range(MOST_ROWS + 4)}), ("n",)))


def test_no_rows_is_an_answer():
    assert "nothing is known" in str(table_of(pa.table({"n": pa.array([], pa.int64())}), ("n",)))
