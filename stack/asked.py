"""What the options of `bitlake stack up` ask for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import typer

from stack import memory
from stack.plan import ALL, USUAL, Catalog, Wanted, in_order


@dataclass(frozen=True)
class Asked:
    """The options that were given; the others are None."""

    only: tuple[str, ...] | None = None
    task_managers: int | None = None
    task_manager_memory: str | None = None
    pin: bool = False
    catalog: Catalog | None = None
    trino_memory: str | None = None

    def beside(self, runs: Wanted | None) -> Wanted:
        """What should run now: what runs goes on, with the options that it had where none were given.

        Raises:
            typer.BadParameter: the machine is too small for that.
        """
        usual = runs or Wanted(USUAL)
        flink = replace(
            usual.flink,
            task_managers=usual.flink.task_managers if self.task_managers is None else self.task_managers,
            task_manager_memory=self.task_manager_memory or usual.flink.task_manager_memory,
            pinned=self.pin or usual.flink.pinned,
        )
        if self._is_of_flink:
            _check_all(flink.task_managers, flink.task_manager_memory)
        catalog, heap = self.catalog or usual.catalog, self.trino_memory or usual.trino_heap
        return replace(usual, only=self._servers(runs), catalog=catalog, flink=flink, trino_heap=heap)

    def _servers(self, runs: Wanted | None) -> tuple[str, ...]:
        names = {*(runs.only if runs else ()), *(self.only or ())} or set(USUAL)
        if (self.catalog or (runs and runs.catalog)) is Catalog.POSTGRES:
            names |= {"seaweedfs", "postgres"}
        if self._is_of_flink:
            names.add("flink")
        if self.trino_memory is not None:
            names.add("trino")
        return in_order(names)

    @property
    def _is_of_flink(self) -> bool:
        return self.task_managers is not None or self.task_manager_memory is not None or self.pin


def server_names(only: str) -> tuple[str, ...]:
    """What --only names.

    Raises:
        typer.BadParameter: nothing, or a server that there isn't.
    """
    from pipeline.config.mistakes import did_you_mean

    names = tuple(name.strip() for name in only.split(",") if name.strip())
    wrong = next((name for name in names if name not in ALL), None)
    if names and wrong is None:
        return names
    close = "" if wrong is None else did_you_mean(wrong, list(ALL))
    told = "it names no server" if wrong is None else f"no server is called '{wrong}'"
    told += f": {close}" if close.startswith("did") else "."
    raise typer.BadParameter(f"{told} There are {', '.join(ALL)}.", param_hint="'--only'")


def at_least(least: str) -> Callable[[str | None], str | None]:
    """What checks an option that is a size of memory, and gives it as Java and Flink take it."""

    def checked(given: str | None) -> str | None:
        if given is None:
            return None
        try:
            normal = memory.normal(given)
        except ValueError as error:
            raise typer.BadParameter(
                f"'{given}' is no size: write a whole number and its unit (k, m, g, t), such as {least}."
            ) from error
        if memory.size(normal) < memory.size(least):
            raise typer.BadParameter(f"{given} is too little: write {least} or more.")
        if memory.size(normal) > memory.machine():
            most = memory.spelled(memory.machine())
            raise typer.BadParameter(f"This machine has {most}: write that or less, not {given}.")
        return normal

    return checked


def _check_all(task_managers: int, each: str) -> None:
    """Refuse more TaskManagers than the machine has memory for."""
    machine, one = memory.machine(), memory.size(memory.normal(each))
    if task_managers * one > machine:
        raise typer.BadParameter(
            f"{task_managers} TaskManagers of {each} are more than the {memory.spelled(machine)} of this "
            f"machine: write {machine // one} or less, or a smaller --task-manager-memory.",
            param_hint="'--task-managers'",
        )
