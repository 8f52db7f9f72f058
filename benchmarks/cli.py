"""`bitlake bench`: make the workload, measure a load, tell the figures."""

import json
import signal
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

bench_app = typer.Typer(no_args_is_help=True)


@bench_app.callback()
def _stop_what_runs() -> None:
    """The benchmark harness."""
    # By default the process ends where it is, and its broker and what it measures go on.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


Records = Annotated[int, typer.Option(min=1, help="How many records.")]
Keys = Annotated[int, typer.Option(min=1, help="How many keys they are about.")]
Share = typer.Option(min=0, max=1)
Late = Annotated[float, Share]
Calls = Annotated[bool, typer.Option("--children/--no-children", help="Records with an array of 0 to 2.")]
Kept = Annotated[Path | None, typer.Option("--keep", help="A folder where a broker keeps its topics.")]
KeptServers = Annotated[Path | None, typer.Option("--keep", help="A folder for the servers and their data.")]
Save = Annotated[Path | None, typer.Option(help="Write FILE.json and FILE.md.")]
Seed = Annotated[int, typer.Option(help="Another one, other records.")]


@bench_app.command("generate")
def generate(
    file: Annotated[Path, typer.Argument(help="JSON Lines file to write.")],
    records: Records = 5_000_000,
    keys: Keys = 100_000,
    late: Late = 0.05,
    corrections: Annotated[float, Share] = 0.32,
    repeats: Annotated[float, Share] = 0.01,
    broken: Annotated[float, Share] = 0.0,
    children: Calls = True,
    seed: Seed = 1,
) -> None:
    """Write the workload's records, and a lake.yaml for them beside the file."""
    from benchmarks.workload import Workload, lake

    workload = Workload(records, keys, children, late, corrections, repeats, broken, seed)
    size = workload.write(file)
    config = file.with_name("lake.yaml")
    if not config.exists():
        config.write_text(lake(children=children), encoding="utf-8")
    typer.echo(
        f"{records:,} records, {size / 1e6:,.0f} MB in {file}\n"
        f"load them: bitlake -c {config} load bonds {file}"
    )


@bench_app.command("run")
def run(
    records: Records = 5_000_000,
    keys: Keys = 100_000,
    late: Late = 0.05,
    corrections: Annotated[float, Share] = 0.32,
    repeats: Annotated[float, Share] = 0.01,
    broken: Annotated[float, Share] = 0.0,
    child_table: Annotated[bool, typer.Option(help="Load the arrays into a child table.")] = False,
    kafka: Annotated[bool, typer.Option("--kafka", help="From a topic of a broker of its own.")] = False,
    tiny: Annotated[bool, typer.Option("--tiny-batches", help="One record to a batch in the topic.")] = False,
    stages: Annotated[bool, typer.Option(help="Also measure where the time of a load of files goes.")] = True,
    runs: Annotated[int, typer.Option(min=1, help="How often; the median counts.")] = 3,
    file: Annotated[Path | None, typer.Option(help="Use this file of the same workload.")] = None,
    keep: Kept = None,
    save: Save = None,
    seed: Seed = 1,
) -> None:
    """Load the workload in new processes and print machine, conditions and figures as JSON."""
    from benchmarks.figures import report
    from benchmarks.runner import bench
    from benchmarks.stages import profile_file
    from benchmarks.topics import Filling
    from benchmarks.workload import Workload

    workload = Workload(records, keys, True, late, corrections, repeats, broken, seed)
    filling = Filling(batched=not tiny) if kafka else None
    result = bench(workload, runs=runs, children=child_table, file=file, filling=filling, kept=keep)
    if stages and filling is None:
        result["stages"] = profile_file(workload, children=child_table, file=file)
    _tell(result, report(result), save)


@bench_app.command("speed")
def speed(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Default: all that there are.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often; the median counts.")] = 5,
    stages: Annotated[bool, typer.Option(help="Also measure where the time of the first goes.")] = True,
    keep: Kept = None,
    save: Save = None,
) -> None:
    """Measure the table of speeds from Kafka, with a broker of its own."""
    from benchmarks.speed import SCENARIOS, measure, report

    result = measure(_known(scenarios, SCENARIOS), runs, keep, profiled=stages)
    _tell(result, report(result), save)


@bench_app.command("latency")
def latency(
    rate: Annotated[int, typer.Option(min=1, help="Records per second.")] = 175_000,
    seconds: Annotated[int, typer.Option(min=1, help="How long.")] = 60,
    child_table: Annotated[bool, typer.Option(help="Load the arrays into a child table.")] = False,
    save: Save = None,
) -> None:
    """Measure how long records take from their timestamp to an answer, at an even pace."""
    from benchmarks.latency import measure, report

    result = measure(rate, seconds, children=child_table)
    _tell(result, report(result), save)


@bench_app.command("rescale")
def rescale(
    keys: Annotated[list[int] | None, typer.Argument(metavar="[KEYS]...", help="Sizes of state.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often, up and down.")] = 1,
    save: Save = None,
) -> None:
    """Measure for how long no Flink job runs when its parallelism is changed, on a stack of its own."""
    from benchmarks.rescale import measure, report

    result = measure(keys or [1_000, 1_000_000], runs)
    _tell(result, report(result), save)


@bench_app.command("flink")
def flink(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help="Default: all that there are.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="How often.")] = 3,
    memory: Annotated[str, typer.Option(help="Of each TaskManager.")] = "4g",
    keep: KeptServers = None,
    save: Save = None,
) -> None:
    """Measure the Flink job's table of speeds, on a stack of its own."""
    from benchmarks.flink_speed import SCENARIOS, measure, report

    result = measure(_known(scenarios, SCENARIOS), runs, memory, keep)
    _tell(result, report(result), save)


@bench_app.command("drill")
def drill(
    records: Annotated[int, typer.Option(min=1, help="Of the burst.")] = 1_000_000,
    keys: Keys = 100_000,
    rate: Annotated[int, typer.Option(min=10, help="Records per second in the quiet times.")] = 100,
    high: Annotated[int, typer.Option(min=2, help="The parallelism for the burst; a TaskManager each.")] = 2,
    minutes: Annotated[int, typer.Option(min=1, help="From the scale-up to the scale-down.")] = 5,
    memory: Annotated[str, typer.Option(help="Of each TaskManager.")] = "4g",
    save: Save = None,
) -> None:
    """Go through a scheduled scale-up, a burst until it is visible in Trino, and the scale-down."""
    from benchmarks.drill import Scaling, measure, report
    from benchmarks.workload import Workload

    scaling = Scaling(high=high, minutes=minutes)
    result = measure(Workload(records, keys), scaling, rate=rate, memory=memory)
    _tell(result, report(result), save)


@bench_app.command("many")
def many(
    records: Records = 5_000_000,
    quiet: Annotated[
        list[int] | None, typer.Option(min=0, help="Quiet topics beside it; repeat. Default: 0, then 29.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="`commit.seconds`.")] = 10,
    keep: Kept = None,
    save: Save = None,
) -> None:
    """Measure how fast a busy topic is read beside quiet ones, and how late these are committed."""
    from benchmarks.many import measure, report

    result = measure(records, quiet or [0, 29], seconds, keep)
    _tell(result, report(result), save)


@bench_app.command("metrics")
def metrics(
    records: Records = 3_000_000,
    pairs: Annotated[int, typer.Option(min=1, help="How often each.")] = 10,
    keep: Kept = None,
    save: Save = None,
) -> None:
    """Measure what `--metrics-port` costs in CPU."""
    from benchmarks.observed import measure, report

    result = measure(records, pairs, keep)
    _tell(result, report(result), save)


@bench_app.command("ask")
def ask(
    config: Annotated[Path, typer.Option("--config", "-c", help="Of a workload that was loaded.")] = Path(
        "lake.yaml"
    ),
    key: Annotated[str, typer.Option(help="The one key asked about.")] = "XS0000019003",
    runs: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 10,
    save: Save = None,
) -> None:
    """Measure how long answers take, in new processes and in one that is warm."""
    from benchmarks import answers

    result = answers.measure(config.absolute(), {"isin": key}, runs)
    _tell(result, answers.report(result), save)


@bench_app.command("append-upsert")
def append_upsert(
    records: Annotated[int, typer.Option(min=1, help="How many records.")] = 1_000_000,
    keys: Keys = 100_000,
    late: Late = 0.05,
    corrections: Annotated[float, Share] = 0.32,
    child_table: Annotated[bool, typer.Option(help="Write the arrays into a child table.")] = False,
    parallelism: Annotated[int, typer.Option(min=1, help="Of the job; a TaskManager each.")] = 1,
    checkpoint: Annotated[str, typer.Option(help="Flink's interval.")] = "10s",
    memory: Annotated[str, typer.Option(help="Of each TaskManager.")] = "4g",
    asked: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 5,
    keep: KeptServers = None,
    save: Annotated[Path | None, typer.Option(help="Write FILE.json, FILE.md and FILE.png.")] = None,
    seed: Seed = 1,
) -> None:
    """Compare an append and an upsert table: the Flink job writes both, Trino reads both."""
    from benchmarks.append_upsert.measure import measure
    from benchmarks.append_upsert.page import report
    from benchmarks.append_upsert.picture import draw
    from benchmarks.workload import Workload

    result = measure(
        Workload(records, keys, True, late, corrections, seed=seed),
        parallelism=parallelism,
        checkpoint=checkpoint,
        memory=memory,
        asked=asked,
        children=child_table,
        kept=keep,
    )
    if save:
        draw(result, save.with_suffix(".png"))
    _tell(result, report(result, save.with_suffix(".png").name if save else None), save)


def _known(names: list[str] | None, scenarios: Collection[str]) -> list[str]:
    """The names of scenarios, all by default."""
    unknown = set(names or ()) - set(scenarios)
    if unknown:
        raise typer.BadParameter(f"no scenario {min(unknown)}; there are {', '.join(scenarios)}")
    return names or list(scenarios)


def _tell(result: dict[str, Any], page: str, save: Path | None) -> None:
    if save:
        save.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        save.with_suffix(".md").write_text(page, encoding="utf-8")
    typer.echo(json.dumps(result, indent=1))
