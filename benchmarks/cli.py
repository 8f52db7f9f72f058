"""`bitlake bench`: make the workload, measure a load, tell the figures."""

import json
from pathlib import Path
from typing import Annotated

import typer

bench_app = typer.Typer(help="The benchmark harness.", no_args_is_help=True)

Records = Annotated[int, typer.Option(min=1, help="How many records.")]
Keys = Annotated[int, typer.Option(min=1, help="How many keys they are about.")]
Share = typer.Option(min=0, max=1)
Late = Annotated[float, Share]
Calls = Annotated[bool, typer.Option("--children/--no-children", help="Records with an array of 0 to 2.")]
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
    save: Annotated[Path | None, typer.Option(help="Write FILE.json and FILE.md.")] = None,
    seed: Seed = 1,
) -> None:
    """Load the workload in new processes and print machine, conditions and figures as JSON."""
    from benchmarks.figures import report
    from benchmarks.runner import bench
    from benchmarks.stages import profile
    from benchmarks.topics import Filling
    from benchmarks.workload import Workload

    workload = Workload(records, keys, True, late, corrections, repeats, broken, seed)
    filling = Filling(batched=not tiny) if kafka else None
    result = bench(workload, runs=runs, children=child_table, file=file, filling=filling)
    if stages:
        result["stages"] = profile(workload, children=child_table, file=file)
    if save:
        save.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        save.with_suffix(".md").write_text(report(result), encoding="utf-8")
    typer.echo(json.dumps(result, indent=1))


@bench_app.command("ask")
def ask(
    config: Annotated[Path, typer.Option("--config", "-c", help="Of a workload that was loaded.")] = Path(
        "lake.yaml"
    ),
    key: Annotated[str, typer.Option(help="The one key asked about.")] = "XS0000019003",
    runs: Annotated[int, typer.Option(min=1, help="How often each question is asked.")] = 10,
    save: Annotated[Path | None, typer.Option(help="Write FILE.json and FILE.md.")] = None,
) -> None:
    """Measure how long answers take, in new processes and in one that is warm."""
    from benchmarks import answers

    result = answers.measure(config.absolute(), {"isin": key}, runs)
    if save:
        save.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        save.with_suffix(".md").write_text(answers.report(result), encoding="utf-8")
    typer.echo(json.dumps(result, indent=1))
