"""`bitlake config check|schema`, `bitlake init`, `bitlake infer`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import BadInput

if TYPE_CHECKING:
    from pipeline.config import LakeConfig

DEFAULT_FILE = "lake.yaml"
config_app = typer.Typer(no_args_is_help=True, help="Check lake.yaml, or print what can be written in it.")


@config_app.command()
def check(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help=f"The configuration; default: {DEFAULT_FILE}.")
    ] = None,
) -> None:
    """Explain every mistake in lake.yaml at its line; without one, show what it declares."""
    from pipeline.config import load_config

    file = config or _given(context) or Path(DEFAULT_FILE)
    lake = load_config(file, os.environ)
    _check_kafka(lake)
    typer.echo(f"{file} has no mistakes.")
    for line in _summary(lake):
        typer.echo(line)


@config_app.command()
def schema() -> None:
    """Print the JSON Schema of lake.yaml, for editors."""
    from pipeline.config import LakeConfig

    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    typer.echo(json.dumps(dialect | LakeConfig.model_json_schema() | {"title": "lake.yaml"}, indent=2))


def init(
    output: Annotated[Path, typer.Option("--out", "-o", help="Where to write.")] = Path(DEFAULT_FILE),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write a lake.yaml to start from."""
    from pipeline.config.template import TEMPLATE

    _write(output, TEMPLATE, force=force)
    typer.echo(f"Wrote {output}. Edit it, then: bitlake config check", err=True)


def infer(
    file: Annotated[str, typer.Argument(help="JSON Lines, also .gz and .zst; - is standard input.")],
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write; default: print it.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The dataset's name; default: the file's.")
    ] = None,
    records: Annotated[int, typer.Option("--records", min=1, help="How many records to look at.")] = 100_000,
    only_dataset: Annotated[
        bool, typer.Option("--only-dataset", help="Just the item of `datasets:`, to paste into a lake.yaml.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
) -> None:
    """Write a lake.yaml whose key, times, columns and children are inferred from data, with the reasons."""
    from pipeline.infer import dataset_text, lake_text, propose, read_sample

    sample = read_sample(file, records)
    proposal = propose(sample, name)
    dropped = [f"valid times are {proposal.truncated}"] if proposal.truncated else []
    for note in (*dropped, *proposal.refused):
        typer.echo(f"Note: {note}", err=True)
    text = dataset_text(proposal) if only_dataset else lake_text(proposal, sample, file)
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text, force=force)
        typer.echo(
            f"Wrote {output} from {len(sample.records):,} records. Read it, then: bitlake config check",
            err=True,
        )


def _write(output: Path, text: str, *, force: bool) -> None:
    try:
        with output.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        problem, fix = "exists already", "Add --force to replace it, or write elsewhere with -o."
    except OSError as error:
        problem, fix = f"can't be written: {error.strerror}", "Write elsewhere with -o."
    else:
        return
    raise BadInput(f"{output} {problem}.", next_step=fix)


def _given(context: typer.Context) -> Path | None:
    """The --config of a command above this one, if it took one."""
    above = context.find_root().params.get("config")
    return Path(above) if above else None


def _check_kafka(lake: "LakeConfig") -> None:
    """Refuse client properties that `run` would refuse; no broker is asked."""
    if not lake.kafka:
        return
    from pipeline.source.kafka.properties import client_settings

    settings = client_settings(lake.kafka)
    if settings.tls:
        settings.tls.context()


def _summary(lake: "LakeConfig") -> list[str]:
    from pipeline.config import dataset_schema

    lines = []
    for dataset in lake.datasets:
        lines.append(f"dataset {dataset.name} (topic {dataset.topic}, {dataset.mode} mode)")
        for table in dataset_schema(dataset).tables:
            key = ", ".join(column.name for column in table.key)
            count = len(table.values)
            lines.append(
                f"  table {table.identifier}: key {key}; {count} more declared column{'s' * (count != 1)}"
            )
    return lines
