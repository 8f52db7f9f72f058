"""A comparison as Markdown."""

from typing import Any

from benchmarks.figures import surroundings, table

REFERENCE = (
    "The reference architecture's figures, on its own cluster and data: 3.5 million records took 1556 s into"
    " an append table and 1675 s into an upsert table; for 10 million it wants 64 and 78 processing units."
    " Ours are of the machine above: compare the relation of the two, not the seconds."
)
COMPACTED = (
    "Seconds of questions in Trino, medians of {}, before → after compaction by Trino (`optimize`; it"
    " does not drop superseded open rows):"
)


def report(result: dict[str, Any], picture: str | None = None) -> str:
    """A page about one result of `benchmarks.append_upsert.measure`."""
    conditions, subjects = result["conditions"], result["subjects"]
    workload, names = conditions["workload"], list(subjects)
    told = [
        ("records", f"{workload['records']:,}, {workload['keys']:,} keys"),
        *surroundings(result),
        ("child table", "with" if conditions["child_table"] else "without"),
        ("parallelism", str(conditions["parallelism"])),
        ("checkpoint interval", conditions["checkpoint_interval"]),
    ]
    parts = [
        f"# Append and upsert: {workload['records']:,} records by the Flink job",
        _summary(workload["records"], subjects),
        *([f"![figures]({picture})"] if picture else []),
        table(("what", "figure"), told),
        table(("writing", *names), _writing(workload["records"], subjects)),
        table(("files", *names), _files(subjects)),
        COMPACTED.format(conditions["asked"]),
        table(("question", *names), _questions(subjects)),
        "Both tables gave the same answers to every question, before and after: whole histories by checksum.",
        REFERENCE,
    ]
    return "\n\n".join(parts) + "\n"


def _summary(records: int, subjects: dict[str, Any]) -> str:
    told = [
        f"{name}: {one['job']['job_seconds']:.1f} s ({records / one['job']['job_seconds']:,.0f} records/s)"
        for name, one in subjects.items()
    ]
    return "From the job's start to its end, " + "; ".join(told) + "."


def _writing(records: int, subjects: dict[str, Any]) -> list[tuple[str, ...]]:
    jobs = [one["job"] for one in subjects.values()]
    kinds = sorted({kind for job in jobs for kind in job["cpu_seconds"]})
    rows = [
        ("job, seconds", *(f"{job['job_seconds']:.1f}" for job in jobs)),
        ("with its submission, seconds", *(f"{job['wall_seconds']:.1f}" for job in jobs)),
        ("records per second", *(f"{records / job['job_seconds']:,.0f}" for job in jobs)),
    ]
    rows += [
        (f"CPU seconds of {kind}", *(f"{job['cpu_seconds'].get(kind, 0):.1f}" for job in jobs))
        for kind in kinds
    ]
    for what in ("checkpoints", "commits"):
        counted = [job[what].get("completed", job[what].get("count")) for job in jobs]
        rows.append((what, *(str(count) for count in counted)))
        rows.append(
            (
                f"{what}: median, longest, seconds",
                *(
                    f"{job[what].get('median_seconds', 0):.2f}, {job[what].get('longest_seconds', 0):.2f}"
                    for job in jobs
                ),
            )
        )
    rows.append(
        (
            "state, the largest checkpoint's",
            *(f"{job['checkpoints']['state_bytes'] / 1e6:,.1f} MB" for job in jobs),
        )
    )
    return rows


def _files(subjects: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for kind in ("data", "position_deletes", "equality_deletes"):
        cells = []
        for one in subjects.values():
            sizes = [one[when]["files"][kind] for when in ("before", "after")]
            cells.append(" → ".join(f"{s['files']:,} files, {s['bytes'] / 1e6:,.1f} MB" for s in sizes))
        rows.append((kind.replace("_", " "), *cells))
    snapshots = [one["before"]["files"]["snapshots"] for one in subjects.values()]
    return [*rows, ("snapshots", *(str(count) for count in snapshots)), _compaction(subjects)]


def _compaction(subjects: dict[str, Any]) -> tuple[str, ...]:
    return ("compaction, seconds", *(f"{one['compaction_seconds']:.1f}" for one in subjects.values()))


def _questions(subjects: dict[str, Any]) -> list[tuple[str, ...]]:
    names = list(next(iter(subjects.values()))["before"]["questions"])
    return [
        (
            name,
            *(
                " → ".join(
                    f"{one[when]['questions'][name]['median_seconds']:.3f}" for when in ("before", "after")
                )
                for one in subjects.values()
            ),
        )
        for name in names
    ]
