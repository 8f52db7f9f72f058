"""Draw the pictures of the documentation.

``python docs/make_images.py [DEMO]``: DEMO is a finished demo's directory, whose picture README.md shows.
"""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from pipeline.demo.picture import INK, PALETTE, PAPER, Version, picture

IMAGES = Path(__file__).parent / "images"
LAST = 16
"""The day where a segment without an end is cut off in the strips."""

Strip = list[tuple[str, int, int | None]]
A, B, C, PATCHED = "A", "B", "C", "A, patched"
COLOURS = {A: PALETTE[0], B: PALETTE[1], C: PALETTE[2], PATCHED: PALETTE[4], "B, patched": PALETTE[3]}
BEFORE: Strip = [(A, 1, 8), (B, 8, None)]
OPERATIONS: list[tuple[str, Strip]] = [
    ("before", BEFORE),
    ("put C at 5", [(A, 1, 5), (C, 5, 8), (B, 8, None)]),
    ("put C from 5 to 12", [(A, 1, 5), (C, 5, 12), (B, 12, None)]),
    ("patch from 5 to 12", [(A, 1, 5), (PATCHED, 5, 8), ("B, patched", 8, 12), (B, 12, None)]),
    ("delete from 5 to 12", [(A, 1, 5), (B, 12, None)]),
    ("terminate at 5", [(A, 1, 5)]),
    ("retract at 8", [(A, 1, None)]),
    ("retract at 1", [(B, 8, None)]),
]


def example() -> list[Version]:
    """The three changes of the example, as versions."""
    t1, t2, t3 = (datetime(2026, 1, day, 9, tzinfo=UTC) for day in (2, 11, 20))

    def day(n: int) -> date:
        return date(2026, 1, n)

    return [
        Version(A, (day(1), None), (t1, t2)),
        Version(A, (day(1), day(10)), (t2, t3)),
        Version(B, (day(10), None), (t2, None)),
        Version(A, (day(1), day(5)), (t3, None)),
        Version(C, (day(5), day(10)), (t3, None)),
    ]


def draw_strip(axes: Axes, strip: Strip, y: float) -> None:
    """One timeline: boxes from day to day, the last one running off the edge."""
    for label, start, end in strip:
        right = LAST if end is None else end
        box = FancyBboxPatch(
            (start + 0.06, y), right - start - 0.12, 0.62, boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=COLOURS[label], edgecolor="none",
        )  # fmt: skip
        axes.add_patch(box)
        middle = (start + right) / 2
        axes.text(
            middle, y + 0.3, label, ha="center", va="center", color="white", fontweight="bold", fontsize=11
        )
        if end is None:
            axes.text(LAST + 0.1, y + 0.3, "→", ha="left", va="center", color=INK, fontsize=13)


def operations() -> Figure:
    """What each operation does to the same timeline."""
    figure = Figure(figsize=(10, 5.2))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.21, 0.09, 0.77, 0.88), facecolor=PAPER)
    for row, (name, strip) in enumerate(OPERATIONS):
        y = len(OPERATIONS) - row + (0.25 if row == 0 else 0)
        axes.text(0.7, y + 0.3, name, ha="right", va="center", color=INK, fontsize=11.5, fontweight="bold")
        draw_strip(axes, strip, y)
    for day in (1, 5, 8, 12):
        axes.axvline(day, color="#d9d6cf", linewidth=0.8, zorder=0)
    axes.set_xlim(0.9, LAST + 0.8)
    axes.set_ylim(0.8, len(OPERATIONS) + 1.1)
    axes.set_xticks([1, 5, 8, 12], ["day 1", "day 5", "day 8", "day 12"], color=INK, fontsize=11)
    axes.set_yticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def smaller(source: Path, target: Path) -> None:
    """The demo's picture in the size of a page."""
    with Image.open(source) as image:
        image.convert("RGB").resize((900, 600), Image.Resampling.LANCZOS).save(target, optimize=True)


def main() -> None:
    """Draw them all."""
    IMAGES.mkdir(exist_ok=True)
    three = picture(example(), title="Three changes, five versions")
    three.savefig(IMAGES / "example.png", dpi=80, facecolor=PAPER)
    operations().savefig(IMAGES / "operations.png", dpi=100, facecolor=PAPER)
    for demo in sys.argv[1:]:
        smaller(Path(demo) / "bond.png", IMAGES / "bond.png")


if __name__ == "__main__":
    main()
