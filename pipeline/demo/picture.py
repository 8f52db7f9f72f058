"""One key's versions as rectangles: valid time across, system time up.

The axes keep the order of all instants and stretch short distances, so that a correction an hour after a
mistake is as visible as one a quarter later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from pipeline.demo.spelling import decimals_of, spell
from pipeline.errors import BadInput

MOST_VERSIONS = 400
PALETTE = (
    "#2f6690",
    "#e07a5f",
    "#3d8b6e",
    "#e9b44c",
    "#7b5ea7",
    "#c8553d",
    "#5fa8d3",
    "#8a9a5b",
    "#b56576",
    "#4a4e69",
)
INK, PAPER, GRID = "#22303c", "#fdfcf9", "#d9d6cf"
NARROWEST = 0.35
"""The least width of a step between two instants, as a share of the average one."""

Instant = date | datetime


@dataclass(frozen=True)
class Version:
    """A rectangle; an open end is None."""

    label: str
    valid: tuple[Instant, Instant | None]
    system: tuple[Instant, Instant | None]


class Scale:
    """Instants to positions: in order, evenly stretched, with room for open ends after the last one."""

    def __init__(self, instants: Sequence[Instant]) -> None:
        self.instants = sorted(set(instants))
        numbers = np.array([_seconds(i) for i in self.instants])
        steps = np.diff(numbers)
        if len(steps):
            steps = np.maximum(steps / steps.mean(), NARROWEST)
        self.positions = np.concatenate([[0.0], np.cumsum(steps)])
        self.end = self.positions[-1] + (max(steps.mean(), self.positions[-1] * 0.16) if len(steps) else 1.0)
        self._at = dict(zip(self.instants, self.positions, strict=True))

    def __call__(self, instant: Instant | None) -> float:
        return float(self.end if instant is None else self._at[instant])

    @property
    def last(self) -> float:
        """The position of the last instant; open ends fade from here on."""
        return float(self.positions[-1])

    def fade(self, start: float, stop: float, size: int = 128) -> NDArray[np.float64]:
        """Opacity along a stretch: full as far as the last instant, then fading towards the end."""
        at = np.linspace(start, stop, size)
        return 1 - 0.95 * np.clip((at - self.last) / (self.end - self.last), 0, 1) ** 1.2


def versions_of(rows: pa.Table, label: str) -> list[Version]:
    """The rectangles of a ``history``: one per row, labelled with the value of a column.

    Raises:
        BadInput: the column is not there, or there are more rows than a picture can show.
    """
    if label not in rows.column_names:
        raise BadInput(
            f"there is no column '{label}'", next_step=f"choose one of {', '.join(rows.column_names)}"
        )
    if not 0 < rows.num_rows <= MOST_VERSIONS:
        raise BadInput(
            f"{rows.num_rows} versions do not make a picture",
            next_step=f"choose one key and a range with 1 to {MOST_VERSIONS} versions",
        )
    names = (label, "valid_from", "valid_to", "system_from", "system_to")
    columns = (rows[name].to_pylist() for name in names)
    decimals = decimals_of(rows[label])
    return [
        Version(spell(value, decimals), (vf, _end(vt)), (sf, _end(st)))
        for value, vf, vt, sf, st in zip(*columns, strict=True)
    ]


def draw(rows: pa.Table, path: Path, *, label: str, title: str, note: str = "") -> None:
    """Draw the versions of one key and save the picture as PNG.

    Args:
        rows: what ``history`` answers for one key (or a part of it).
        path: where to save.
        label: the column whose value names and colours a rectangle.
        title: what the picture shows.
        note: a line below it.
    """
    figure = picture(versions_of(rows, label), title=title, note=note)
    figure.savefig(path, dpi=150, facecolor=PAPER)


def picture(versions: Sequence[Version], *, title: str, note: str = "") -> Figure:
    """The figure that `draw` saves; every rectangle is a patch with the group id ``version``."""
    figure = Figure(figsize=(12, 8))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.155, 0.16, 0.80, 0.70))
    across = Scale([i for v in versions for i in v.valid if i is not None])
    up = Scale([i for v in versions for i in v.system if i is not None])
    colours = {
        text: PALETTE[n % len(PALETTE)] for n, text in enumerate(dict.fromkeys(v.label for v in versions))
    }
    _frame(axes, across, up)
    for version in versions:
        _rectangle(axes, version, across, up, colours[version.label])
    figure.text(0.025, 0.95, title, fontsize=17, fontweight="bold", color=INK, va="center")
    legend = "Each rectangle is a version: a value, where it holds (across) and while it was believed (up)."
    figure.text(0.025, 0.905, f"{legend} A fading edge has no end.", fontsize=10.5, color=INK, va="center")
    figure.text(0.025, 0.02, note, fontsize=9, color="#6b7680", va="bottom")
    return figure


def _rectangle(axes: Axes, version: Version, across: Scale, up: Scale, colour: str) -> None:
    left, right = (across(i) for i in version.valid)
    bottom, top = (up(i) for i in version.system)
    opacity = np.outer(up.fade(bottom, top), across.fade(left, right))[..., np.newaxis]
    mixed = opacity * np.array(to_rgb(colour)) + (1 - opacity) * np.array(to_rgb(PAPER))
    shade = np.rint(mixed * 255).astype(np.uint8)
    axes.imshow(shade, extent=(left, right, bottom, top), aspect="auto", origin="lower", zorder=2)
    patch = Rectangle((left, bottom), right - left, top - bottom, fill=False, linewidth=0)
    patch.set_gid("version")
    axes.add_patch(patch)
    edges = [((left, left), (bottom, top)), ((left, right), (bottom, bottom))]
    if version.valid[1] is not None:
        edges.append(((right, right), (bottom, top)))
    if version.system[1] is not None:
        edges.append(((left, right), (top, top)))
    for xs, ys in edges:
        axes.plot(xs, ys, color=PAPER, linewidth=1.6, solid_capstyle="butt", zorder=3)
    right, top = (
        min(right, max(across.last, left + 0.6 * (right - left))),
        min(top, max(up.last, bottom + 0.6 * (top - bottom))),
    )
    _write(axes, version.label, (left, right, across.end), (bottom, top, up.end), colour)


def _write(
    axes: Axes, text: str, x: tuple[float, float, float], y: tuple[float, float, float], colour: str
) -> None:
    """Write a label into its rectangle as large as fits: upright where lying gets too small."""
    width = (x[1] - x[0]) / x[2] * 12 * 0.80 * 72
    height = (y[1] - y[0]) / y[2] * 8 * 0.70 * 72
    lying = min(width / (0.72 * max(len(text), 1)), height / 1.5)
    standing = min(height / (0.72 * max(len(text), 1)), width / 1.5)
    size = min(max(lying, standing if lying < 7 else 0), 14)
    if size < 5:
        return
    axes.text(
        (x[0] + x[1]) / 2, (y[0] + y[1]) / 2, text,
        rotation=0 if lying >= 7 or lying >= standing else 90, fontsize=size, fontweight="bold",
        color="white", ha="center", va="center", zorder=4,
        path_effects=[withStroke(linewidth=3, foreground=colour)],
    )  # fmt: skip


def _frame(axes: Axes, across: Scale, up: Scale) -> None:
    axes.set_facecolor(PAPER)
    axes.set_xlim(0, across.end)
    axes.set_ylim(0, up.end)
    _ticks(axes.set_xticks, across, room=26, rotation=38, ha="right")
    _ticks(axes.set_yticks, up, room=24)
    axes.tick_params(length=3, color=INK, labelcolor=INK, labelsize=9)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)
    axes.set_xlabel("valid time: when it holds  →", fontsize=11, color=INK, loc="right")
    axes.set_ylabel("system time: when we believed it  →", fontsize=11, color=INK, loc="top")


def _ticks(place: Any, scale: Scale, *, room: int, **style: Any) -> None:
    """A tick at each instant, thinned out where more than `room` labels would overlap."""
    step = -(-len(scale.instants) // room)
    texts = [_when(i, scale.instants) for i in scale.instants[::step]]
    place(scale.positions[::step], texts, **style)


def _when(instant: Instant, among: Sequence[Instant]) -> str:
    """An instant as text: its date, and its time where another instant has the same date."""
    same_day = [i for i in among if i.timetuple()[:3] == instant.timetuple()[:3]]
    return f"{instant:%Y-%m-%d %H:%M}" if len(same_day) > 1 else f"{instant:%Y-%m-%d}"


def _end(instant: Instant | None) -> Instant | None:
    return None if instant is None or instant.year == 9999 else instant


def _seconds(instant: Instant) -> float:
    moment = instant.timestamp() if isinstance(instant, datetime) else instant.toordinal() * 86400.0
    return float(moment)
