"""Writers of one dataset that meet in its tables: who claims it last writes it, and nobody else."""

from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException

from pipeline.errors import Refused
from pipeline.schema import DatasetSchema
from pipeline.sink import LakeSink, open_catalog
from pipeline.sink.commit import Fenced
from pipeline.sink.lease import Lease, Tenant
from pipeline.sink.ledger import tag_of, writer_token
from tests import lakes

TABLES = ("ref.bonds", "ref.bonds__calls")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return open_catalog(lakes.sqlite_config(tmp_path))


class Writer:
    """A process that writes `bonds`."""

    def __init__(self, catalog: Catalog, name: str) -> None:
        self.catalog, self.tenant = catalog, Tenant(name, f"process {name}", 600)
        self.sink = LakeSink(catalog, lakes.DEAD)
        self.schema: DatasetSchema = self.sink.open(
            lakes.with_child(lakes.dataset()), mode="append", partition_by=[]
        )

    def claim(self) -> "Writer":
        self.token = self.sink.claim(self.schema, self.tenant)
        return self

    def epoch(self, number: int, dead: int = 0) -> Any:
        letters = lakes.dead_letters("bonds", number, dead) if dead else None
        rows = [{"isin": f"{self.tenant.owner}{number}"}]
        return self.sink.write(lakes.epoch(self.schema, number, opened=rows, dead=letters))

    def commit(self, number: int) -> None:
        self.sink.commit(self.epoch(number))

    def isins(self) -> list[str]:
        return lakes.isins(self.sink, self.schema.parent)


def tokens(catalog: Catalog) -> list[int]:
    return [writer_token(catalog.load_table(name).metadata, "bonds") for name in TABLES]


def test_who_was_overtaken_commits_nothing_and_takes_nothing_back(catalog: Catalog) -> None:
    first, second = Writer(catalog, "A").claim(), Writer(catalog, "B")
    first.commit(1)
    mine = first.epoch(2)
    second.claim()
    assert tokens(catalog) == [2, 2]
    with pytest.raises(Fenced, match="taken over by process B") as error:
        first.sink.commit(mine)
    assert (error.value.token, error.value.theirs) == (1, 2)
    first.sink.end_claims()
    lease = Lease.of(catalog.load_table("ref.bonds").properties)
    assert lease is not None
    assert (lease.owner, lease.token, lease.until > 0) == ("B", 2, True)
    second.commit(2)
    assert second.isins() == ["A1", "B2"]
    with pytest.raises(Fenced):
        first.sink.commit(mine)


def test_a_writer_without_a_claim_is_refused_where_there_ever_was_one(catalog: Catalog) -> None:
    Writer(catalog, "A").claim().sink.end_claims()
    with pytest.raises(Fenced, match="this process has none"):
        Writer(catalog, "B").commit(1)


def test_an_epoch_follows_its_own_predecessor_alone(catalog: Catalog) -> None:
    writer = Writer(catalog, "A").claim()
    writer.commit(1)
    with pytest.raises(Refused, match="rolled back to epoch 1"):
        writer.commit(3)
    other = writer.epoch(1)
    with pytest.raises(Refused, match="already holds epoch 1 of 'bonds' from another writer"):
        writer.sink.commit(other)
    writer.commit(2)
    assert writer.isins() == ["A1", "A2"]


def test_tables_rolled_back_under_a_writer_stop_it(catalog: Catalog) -> None:
    writer = Writer(catalog, "A").claim()
    for number in (1, 2):
        writer.commit(number)
    mine = writer.epoch(3)
    for name in TABLES:
        table = catalog.load_table(name)
        table.manage_snapshots().rollback_to_snapshot(table.snapshots()[1].snapshot_id).commit()
    with pytest.raises(Refused, match="rolled back to epoch 1"):
        writer.sink.commit(mine)
    other = Writer(catalog, "B").claim()
    assert other.token == 2
    other.commit(2)
    assert other.isins() == ["A1", "B2"]


def test_a_token_that_was_rolled_back_is_not_given_again(catalog: Catalog) -> None:
    first, second = Writer(catalog, "A").claim(), Writer(catalog, "B").claim()
    for name in TABLES:
        table = catalog.load_table(name)
        table.manage_snapshots().rollback_to_snapshot(table.snapshots()[0].snapshot_id).commit()
    assert tokens(catalog) == [1, 1]
    assert Writer(catalog, "C").claim().token == 3
    for writer in (first, second):
        with pytest.raises(Fenced):
            writer.commit(1)


def test_of_two_who_claim_at_once_one_is_fenced_off(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Writer(catalog, "A"), Writer(catalog, "B")
    load, met = catalog.load_table, []

    def meanwhile(identifier: Any) -> Any:
        table = load(identifier)
        if not met and identifier == "ref.bonds__calls":
            met.append(identifier)
            second.claim()
        return table

    monkeypatch.setattr(catalog, "load_table", meanwhile)
    first.claim()
    assert sorted((first.token, second.token)) == [1, 2]
    late, early = (first, second) if first.token == 2 else (second, first)
    with pytest.raises(Fenced):
        early.commit(1)
    late.commit(1)
    assert tokens(catalog) == [2, 2]


def test_who_raises_the_token_in_some_tables_only_has_lost_to_who_raised_it_in_all(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.sink import claims

    first, second = Writer(catalog, "A"), Writer(catalog, "B")

    def meanwhile(_: str) -> None:
        monkeypatch.undo()
        second.claim()

    monkeypatch.setattr(claims, "reach", meanwhile)
    with pytest.raises(Fenced, match="taken over by process B"):
        first.claim()
    second.commit(1)
    assert (second.token, tokens(catalog)) == (2, [2, 2])


def test_an_answer_that_is_lost_raises_the_token_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = catalog.commit_table

    def lost(*args: Any) -> Any:
        commit(*args)
        raise ConnectionError("the answer was lost")

    writer = Writer(catalog, "A")
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "commit_table", lost)
        writer.claim()
    assert tokens(catalog) == [1, 1]
    assert [len(catalog.load_table(name).snapshots()) for name in TABLES] == [1, 1]
    writer.commit(1)


def test_a_conflict_with_others_raises_the_token_all_the_same(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, left = catalog.commit_table, [1]

    def conflict(*args: Any) -> Any:
        if left:
            left.pop()
            raise CommitFailedException("updated by another process")
        return commit(*args)

    monkeypatch.setattr(catalog, "commit_table", conflict)
    assert Writer(catalog, "A").claim().token == 1
    assert tokens(catalog) == [1, 1]


@pytest.mark.parametrize("done", [1, 2], ids=["the child has it", "both have it"])
def test_what_a_writer_of_another_state_committed_in_part_is_finished(catalog: Catalog, done: int) -> None:
    first, second = Writer(catalog, "A").claim(), Writer(catalog, "B")
    first.commit(1)
    files = first.epoch(2, dead=2)
    stop_after(first.sink, done, lambda: first.sink.commit(files))
    second.claim()
    unfinished = second.sink.unfinished(second.schema)
    if done == 1:
        assert unfinished == files
        second.sink.commit(unfinished)
    else:
        assert unfinished is None
        letters = second.sink.missing_letters(second.schema)
        assert letters is not None
        second.sink.commit(letters)
    assert second.sink.unfinished(second.schema) is None
    assert second.sink.missing_letters(second.schema) is None
    assert len(set(map(str, second.sink.positions(second.schema).values()))) == 1
    assert second.isins() == ["A1", "A2"]
    assert len(catalog.load_table(lakes.DEAD).scan().to_arrow()) == 2
    first.sink.commit(files)  # stalled meanwhile: finds all of it there
    with pytest.raises(Fenced):
        first.commit(3)
    second.commit(3)
    assert second.isins() == ["A1", "A2", "B3"]


class Stopped(BaseException):
    """As if the process had died."""


def stop_after(sink: LakeSink, tables: int, action: Any) -> None:
    left, commit = [tables], sink._commit

    def counted(*args: Any) -> bool:
        if not left[0]:
            raise Stopped
        left[0] -= 1
        return commit(*args)

    sink._commit = counted  # type: ignore[method-assign]
    with pytest.raises(Stopped):
        action()
    sink._commit = commit  # type: ignore[method-assign]


def test_no_list_of_files_stays_when_an_epoch_is_in_all_tables(catalog: Catalog, tmp_path: Path) -> None:
    writer = Writer(catalog, "A").claim()
    files = writer.epoch(1)
    assert len(list(tmp_path.rglob("*-intent-*.parquet"))) == 1
    writer.sink.commit(files)
    assert not list(tmp_path.rglob("*-intent-*.parquet"))


def test_the_tags_are_on_the_newest_commits(catalog: Catalog) -> None:
    writer = Writer(catalog, "A").claim()
    for number in (1, 2):
        writer.commit(number)
        for name in TABLES:
            table = catalog.load_table(name)
            assert table.metadata.refs[tag_of("bonds")].snapshot_id == table.metadata.current_snapshot_id
    table = catalog.load_table("ref.bonds")
    table.append(lakes.rows(writer.schema.parent, {"isin": "elsewhere"}))
    newest = table.snapshots()[-1].snapshot_id
    with pytest.raises(ValueError, match="protected"):
        table.maintenance.expire_snapshots().by_id(table.metadata.refs[tag_of("bonds")].snapshot_id)
    kept = {newest, table.metadata.refs[tag_of("bonds")].snapshot_id}
    old = [s.snapshot_id for s in table.snapshots() if s.snapshot_id not in kept]
    table.maintenance.expire_snapshots().by_ids(old).commit()
    assert len(catalog.load_table("ref.bonds").snapshots()) == 2
    assert writer.sink.positions(writer.schema)["ref.bonds"] == lakes.position(2)
    writer.commit(3)
