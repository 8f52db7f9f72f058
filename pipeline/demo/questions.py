"""What a person would ask the demo's lake: the words, the commands that ask, the columns that answer.

One object makes both the command and the call, so that what is printed is what was asked.
"""

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

if TYPE_CHECKING:
    from pipeline.lake import Lake

FRN = "XS9900000019"
NORDLICHT = "Nordlicht Energie AG"


@dataclass(frozen=True)
class Ask:
    """One command and its answer.

    Attributes:
        command: the command, and the method of `Lake` of that name.
        table: the dataset, or a child table of it.
        show: the columns worth showing, in order.
        key: values of key columns.
        valid: the day in question.
        system: the instant of knowing; for a diff, the later one.
        before: for a diff, the earlier instant.
    """

    command: Literal["asof", "timeline", "history", "diff"]
    table: str
    show: tuple[str, ...]
    key: dict[str, str] = field(default_factory=dict)
    valid: str = ""
    system: str = ""
    before: str = ""

    @property
    def text(self) -> str:
        """The command as typed in a shell."""
        options = {"--valid": self.valid, "--system": self.system}
        if self.command == "diff":
            options = {"--from": self.before, "--to": self.system}
        words = ["bitlake", self.command, self.table]
        for name, value in options.items():
            words += [name, value] if value else []
        for name, value in self.key.items():
            words += ["--key", f"{name}={value}"]
        return shlex.join(words)

    def answer(self, lake: "Lake") -> pa.Table:
        """Ask the lake."""
        key = dict(self.key) or None
        match self.command:
            case "asof":
                return lake.asof(self.table, valid=self.valid, system=self.system, key=key)
            case "timeline":
                return lake.timeline(self.table, system=self.system, key=key)
            case "history":
                return lake.history(self.table, key=key)
            case "diff":
                return lake.diff(self.table, self.before, self.system, key=key)


@dataclass(frozen=True)
class Question:
    """A question in words, what to ask for it, and what to see in the answers."""

    words: str
    asks: tuple[Ask, ...]
    remark: str = ""


def _franc(system: str) -> Ask:
    return Ask("asof", "rates", ("currency", "rate", "valid_from"), {"currency": "CHF"}, "2015-01-15", system)


def _coupons(system: str) -> Ask:
    return Ask(
        "timeline",
        "bonds",
        ("coupon", "fixing", "margin", "valid_from", "valid_to"),
        {"isin": FRN},
        "",
        system,
    )


def _calls(system: str) -> Ask:
    return Ask(
        "asof", "bonds__calls", ("call_date", "price", "notice_days"), {"isin": FRN}, "2026-03-31", system
    )


def _report(table: str, show: tuple[str, ...], system: str, last: tuple[str, ...] = ()) -> Ask:
    return Ask(
        "asof",
        table,
        (*show, "revenue", "operating_profit", *last),
        {"issuer": NORDLICHT},
        "2026-03-31",
        system,
    )


def _dividend(system: str) -> Ask:
    key = {"event": "NLE-DIV-2025"}
    return Ask("asof", "actions", ("event", "amount", "currency", "pay_date"), key, "2026-05-20", system)


QUESTIONS = (
    Question(
        "What was a euro worth in Swiss francs on 15 January 2015, as known at noon, and in the evening?",
        (_franc("2015-01-15T11:00:00Z"), _franc("2015-01-15T20:00:00Z")),
        "At noon the last rate was the day before's. The Swiss National Bank gave up its floor that day.",
    ),
    Question(
        "What did the publication of 2 January 2026 change?",
        (
            Ask(
                "diff",
                "rates",
                ("currency", "valid_from", "valid_to", "change", "old", "new"),
                before="2025-12-31T20:00:00Z",
                system="2026-01-02T20:00:00Z",
            ),
        ),
        "Bulgaria had joined the euro: the lev's rate is removed, it is not a rate of zero.",
    ),
    Question(
        "Which coupons did we believe the floating-rate bond pays, in March 2026 and in June?",
        (_coupons("2026-03-31T18:00:00Z"), _coupons("2026-06-30T18:00:00Z")),
        "The fixing of 16 March was corrected inside its period, on 22 April; a margin of 1.30 from September"
        " was announced in May and retracted in June. December's fixing was corrected after its period, in"
        " July: neither answer knows of it.",
    ),
    Question(
        "On which dates may the issuer call the bond, as known in January and in March 2026?",
        (_calls("2026-01-31T18:00:00Z"), _calls("2026-03-31T18:00:00Z")),
        "The call date of 2027 was withdrawn on 18 February. The call dates are a child table.",
    ),
    Question(
        "What did the report for the first quarter of 2026 say at first, and what does it say as restated?",
        (
            _report("reports", ("period",), "2026-05-31T18:00:00Z", ("net_profit",)),
            _report("reports", ("period",), "2026-08-31T18:00:00Z", ("net_profit",)),
            _report("reports__segments", ("segment",), "2026-08-31T18:00:00Z"),
        ),
        "The restatement came as a patch of three figures and the segments; all else was left alone.",
    ),
    Question(
        "Is there a dividend for 20 May 2026? As announced, as corrected, and after it was cancelled:",
        (
            _dividend("2026-02-20T18:00:00Z"),
            _dividend("2026-04-01T18:00:00Z"),
            _dividend("2026-05-07T18:00:00Z"),
        ),
        "Nothing is known any more, and what was known remains known.",
    ),
    Question(
        "What happened to the split?",
        (
            Ask(
                "history",
                "actions",
                ("ratio", "valid_from", "valid_to", "system_from", "system_to"),
                {"event": "NLE-SPLIT-2026"},
            ),
        ),
        "Announced 4 for 1, corrected to 5 for 1, moved by two weeks, called off: no version is open.",
    ),
)
