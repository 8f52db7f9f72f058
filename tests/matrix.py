"""Writes docs/invariants.md and docs/fencing.md from the tests' own markers.

``python -m tests.matrix`` collects the tests marked with ``fault`` and ``fencing`` and writes the pages. What a
``fault`` marker claims is held by `tests.faults.conftest`: a test that did not check an invariant that its
marker names fails.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.invariants import INVARIANTS

DOCS = Path(__file__).parents[1] / "docs"
PAGE, FENCING_PAGE = DOCS / "invariants.md", DOCS / "fencing.md"

KILL, KILL_TWICE, KILL_RECOVERY = (
    "kill -9 at each fault point",
    "kill -9 twice in a row",
    "kill -9 during recovery",
)
KILL_UPSERT, KILL_PARTITIONED, KILL_COLD, KILL_POSTGRESQL, KILL_REST = (
    "kill -9 in upsert mode",
    "kill -9 with partitioned tables",
    "kill -9 while cold keys leave memory",
    "kill -9 on PostgreSQL",
    "kill -9 on a REST catalog and S3",
)
ANSWER_LOST, CONCURRENT = "commit applied, its response lost", "commit refused by a concurrent writer"
CATALOG_AWAY, STORE_AWAY, BROKER_AWAY = (
    "catalog away and back",
    "object store away and back",
    "broker away and back",
)
FULL_DATA, FULL_STATE, FULL_METADATA = (
    "disk full: data",
    "disk full: state",
    "disk full: metadata and catalog",
)
STATE_LOST, STATE_TRUNCATED, STATE_OLD, STATE_AHEAD = (
    "state directory lost",
    "state directory truncated or damaged",
    "state directory older than the tables",
    "state directory newer than the tables",
)
EXPIRED, RETENTION, RECREATED = (
    "snapshots expired",
    "retention passed the stored offset",
    "topic deleted and recreated",
)
SECOND_WRITER, STOPPED, CLOCK = (
    "second writer started",
    "SIGSTOP, then back beside its successor",
    "clock set back",
)
POISON, SOAK, SIMULATION = "poison record in each place", "ten minutes of soak", "seeded simulation"
FAULTS = (
    *(KILL, KILL_TWICE, KILL_RECOVERY),
    *(KILL_UPSERT, KILL_PARTITIONED, KILL_COLD, KILL_POSTGRESQL, KILL_REST),
    *(ANSWER_LOST, CONCURRENT, CATALOG_AWAY, STORE_AWAY, BROKER_AWAY),
    *(FULL_DATA, FULL_STATE, FULL_METADATA),
    *(STATE_LOST, STATE_TRUNCATED, STATE_OLD, STATE_AHEAD),
    *(EXPIRED, RETENTION, RECREATED, SECOND_WRITER, STOPPED, CLOCK, POISON, SOAK, SIMULATION),
)
"""Every fault that bitlake promises to survive."""

ALIVE, STALLED, DEAD, HALF = "alive", "stalled", "dead", "committed half an epoch"
"""States of a writer when another one takes its dataset."""

_HEAD = """\
# What holds after which fault

Written by `python -m tests.matrix` from the tests' markers. A number says how many test cases prove the
invariant after the fault: they cause it, let bitlake recover and go on, and compare with the naive model
(`tests/model`) and check the invariant (`tests/invariants.py`). **missing**: no test does yet.

Only what pytest collects is counted, and nothing that is marked to be skipped or to fail. `make test` runs those
that are quick, `make test-faults` those that are long. Full disks need root, to mount a small one: elsewhere
those tests are skipped, and prove nothing there. The seeded simulation tells its seed when it fails, and
`python -m tests.faults.simulation SEED`, or `BITLAKE_SEED=SEED pytest tests/faults/test_simulation.py -k a_seed`,
makes the same happen again.
"""


@dataclass
class Cases:
    """How many cases a test has, and how many of them are quick."""

    quick: int = 0
    all: int = 0

    def __str__(self) -> str:
        kinds = [f"{self.all} cases"] if self.all > 1 else []
        if self.quick < self.all:
            kinds.append(f"{self.quick} quick" if self.quick else "long")
        return f" ({', '.join(kinds)})" if kinds else ""


class Claims:
    """A pytest plugin: the faults and invariants that the collected tests claim.

    Attributes:
        cases: per fault and invariant, how many test cases.
        tests: per fault, how many cases each test function has: those that are quick, and all.
        meetings: per first writer, successor and state of the first, how many cases.
    """

    def __init__(self) -> None:
        self.cases: dict[tuple[str, str], int] = defaultdict(int)
        self.tests: dict[str, dict[str, Cases]] = defaultdict(lambda: defaultdict(Cases))
        self.meetings: dict[tuple[str, str, str], Cases] = defaultdict(Cases)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note what the markers say, before any test is deselected."""
        for item in items:
            for fault, invariants in claims_of(item):
                for name in invariants:
                    self.cases[fault, name] += 1
                found = self.tests[fault][item.nodeid.partition("[")[0]]
                found.all += 1
                found.quick += item.get_closest_marker("long") is None
            for marker in item.iter_markers("fencing"):
                met = self.meetings[marker.args]
                met.all += 1
                met.quick += item.get_closest_marker("long") is None


def claims_of(item: pytest.Item) -> Iterable[tuple[str, tuple[str, ...]]]:
    """The faults that a test's markers name, each with its invariants; none where it can't fail."""
    if item.get_closest_marker("skip") or item.get_closest_marker("xfail"):
        return
    for marker in item.iter_markers("fault"):
        (fault,) = marker.args
        invariants = tuple(marker.kwargs.get("invariants", INVARIANTS))
        assert fault in FAULTS, f"{item.nodeid}: {fault} is not among tests.matrix.FAULTS"
        assert set(invariants) <= set(INVARIANTS), item.nodeid
        yield fault, invariants


def page(cells: Mapping[tuple[str, str], int], tests: Mapping[str, Mapping[str, Cases]]) -> str:
    """The page."""
    rows = [["fault", *INVARIANTS], ["---", *("---" for _ in INVARIANTS)]]
    rows += [[fault, *(_cell(cells.get((fault, name), 0)) for name in INVARIANTS)] for fault in FAULTS]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    parts = [f"{_HEAD}\n{table}\n\n## The tests\n"]
    for fault in FAULTS:
        found = tests.get(fault, {})
        listed = [f"`{test}`{cases}" for test, cases in sorted(found.items())]
        parts.append(f"- **{fault}**: {', '.join(listed) or 'missing'}")
    return "\n".join(parts) + "\n"


_FENCING_HEAD = """\
# Who meets whom

Written by `python -m tests.matrix` from the tests' markers. A writer holds a dataset; another one takes it. Each
number says how many test cases make the two meet so. Afterwards every record is in every table once, and whoever lost
the dataset has committed nothing more. `make test` runs those that are quick, `make test-faults` all of them.
[Decision 0019](decisions/0019-writer-tokens.md) tells how it works.

- *alive*: it works on while its successor does; *stalled*: it was stopped, and goes on afterwards; *dead*: it was
  killed; *half an epoch*: it had committed an epoch (a job: a checkpoint) to some tables only.
- The tests: `tests/faults/test_fencing.py` (embedded writers: on SQLite, and some of the cases on PostgreSQL and
  on a REST catalog, too), `tests/integration/flink/test_fencing.py` (jobs, on a REST catalog).
- Chance is in `tests/faults/simulation/rivals.py`: two writers live at once, are killed, stalled and cut off.
"""


def fencing_page(meetings: Mapping[tuple[str, str, str], Cases]) -> str:
    """The page about pairs of writers."""
    states = (ALIVE, STALLED, DEAD, HALF)
    rows = [["first", "successor", *states], ["---"] * (2 + len(states))]
    for first, successor in sorted({(first, successor) for first, successor, _ in meetings}):
        cases = [meetings.get((first, successor, state), Cases()) for state in states]
        rows.append([first, successor, *(_told(found) for found in cases)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_FENCING_HEAD}\n{table}\n"


def _told(cases: Cases) -> str:
    if not cases.all:
        return "-"
    return f"{cases.all} ({cases.quick} quick)" if cases.quick else str(cases.all)


def _cell(cases: int) -> str:
    return str(cases) if cases else "**missing**"


def main() -> int:
    """Collect all tests and write the pages."""
    claims = Claims()
    status = pytest.main(["--collect-only", "-q", "-q", "--no-header", "tests"], plugins=[claims])
    if status == pytest.ExitCode.OK:
        PAGE.write_text(page(claims.cases, claims.tests))
        FENCING_PAGE.write_text(fencing_page(claims.meetings))
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
