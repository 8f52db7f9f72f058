"""The reference workload: bonds whose terms and call schedules change, some late, some delivered twice.

Every record is a function of the seed and its number, so that a file of any size can be made again.
"""

from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

_CHUNK = 50_000
_RECORD_LIMIT = 512
_FIRST_DAY = 10_592  # 1999-01-01
_SPAN_SECONDS = 27 * 365 * 86_400


@dataclass(frozen=True)
class Workload:
    """What the records are like; shares are of all records.

    Attributes:
        records: how many.
        keys: how many keys they are about, evenly and at random.
        children: each record has 0 to 2 calls; without, it has no array.
        late: share valid from somewhere between the key's earlier changes.
        corrections: share with other values for the key's latest change. The default leads to about
            2.6 version rows per record; 0 to 2.9.
        repeats: share that are the key's last record again.
        broken: share that become dead letters, in four ways.
        seed: another one, other records.
    """

    records: int = 5_000_000
    keys: int = 100_000
    children: bool = True
    late: float = 0.05
    corrections: float = 0.32
    repeats: float = 0.01
    broken: float = 0.0
    seed: int = 1

    @property
    def step(self) -> int:
        """Seconds between a key's changes that are in time."""
        return max(60, _SPAN_SECONDS * self.keys // self.records)

    def write(self, path: Path) -> int:
        """Write the records to a JSON Lines file; returns its size in bytes."""
        counts = np.zeros(self.keys, np.int64)
        lasts = np.zeros((self.keys, 2), np.int64)
        limits = np.cumsum([self.broken, self.repeats, self.late, self.corrections])
        buffer = np.empty(_CHUNK * _RECORD_LIMIT, np.uint8)
        size = 0
        with path.open("wb") as file:
            for first in range(0, self.records, _CHUNK):
                last = min(first + _CHUNK, self.records)
                used = _render(
                    buffer, first, last, self.seed, self.step, limits, self.children, counts, lasts
                )
                file.write(buffer[:used].data)
                size += used
        return size


def lake(
    *,
    children: bool = True,
    records_per_epoch: int = 500_000,
    seconds_per_epoch: float = 60,
    topic: str = "bonds",
) -> str:
    """The lake.yaml for a workload: its dataset ``bonds``, with the child table or without."""
    text = _LAKE + (_CHILD if children else "")
    given = {"RECORDS": records_per_epoch, "SECONDS": seconds_per_epoch, "TOPIC": topic}
    for name, value in given.items():
        text = text.replace(name, str(value))
    return text


_LAKE = """\
catalog:
  name: lake
  type: sql
  uri: sqlite:///.bitlake/catalog.db
  warehouse: .bitlake/warehouse
state: .bitlake/state
commit:
  records: RECORDS
  seconds: SECONDS
datasets:
  - name: bonds
    topic: TOPIC
    table: bench.bonds
    key: [isin]
    valid_from: from
    valid_end: next_change
    columns:
      issuer: string
      coupon: {path: terms.coupon, type: "decimal(12,6)"}
      basis: {path: terms.basis, type: string}
      spread: {path: terms.spread, type: long}
    on_new_field: ignore
"""
_CHILD = """\
    children:
      - path: calls
        key: [date]
        columns:
          date: date
          price: "decimal(12,6)"
"""

_HEX = np.frombuffer(b"0123456789ABCDEF", np.uint8)
_KEY = np.frombuffer(b'{"isin":"XS', np.uint8)
_FROM = np.frombuffer(b'","from":"', np.uint8)
_ISSUER = np.frombuffer(b'Z","issuer":"Issuer ', np.uint8)
_COUPON = np.frombuffer(b'","terms":{"coupon":"', np.uint8)
_ACT = np.frombuffer(b'","basis":"ACT/360","spread":', np.uint8)
_THIRTY = np.frombuffer(b'","basis":"30E/360","spread":', np.uint8)
_CALLS = np.frombuffer(b',"calls":[', np.uint8)
_CALL = np.frombuffer(b'{"date":"', np.uint8)
_PRICE = np.frombuffer(b'","price":"', np.uint8)


@numba.njit(nogil=True, cache=True)
def _mix(number: int) -> np.uint64:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014): a number's bits, thoroughly mixed."""
    z = np.uint64(number) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(nogil=True, cache=True)
def _text(buffer: NDArray[np.uint8], at: int, text: NDArray[np.uint8]) -> int:
    for i in range(len(text)):
        buffer[at + i] = text[i]
    return at + len(text)


@numba.njit(nogil=True, cache=True)
def _digits(buffer: NDArray[np.uint8], at: int, number: int, width: int) -> int:
    for i in range(width - 1, -1, -1):
        buffer[at + i] = 48 + number % 10
        number //= 10
    return at + width


@numba.njit(nogil=True, cache=True)
def _date(buffer: NDArray[np.uint8], at: int, day: int) -> int:
    """Days since 1970 as a civil date (Hinnant, "chrono-compatible low-level date algorithms")."""
    z = day + 719_468
    era = z // 146_097
    doe = z - era * 146_097
    yoe = (doe - doe // 1460 + doe // 36_524 - doe // 146_096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    month = mp + 3 if mp < 10 else mp - 9
    at = _digits(buffer, at, yoe + era * 400 + (1 if month <= 2 else 0), 4)
    buffer[at] = 45
    at = _digits(buffer, at + 1, month, 2)
    buffer[at] = 45
    return _digits(buffer, at + 1, doy - (153 * mp + 2) // 5 + 1, 2)


@numba.njit(nogil=True, cache=True)
def _instant(buffer: NDArray[np.uint8], at: int, seconds: int) -> int:
    at = _date(buffer, at, seconds // 86_400)
    buffer[at] = 84
    rest = seconds % 86_400
    at = _digits(buffer, at + 1, rest // 3600, 2)
    buffer[at] = 58
    at = _digits(buffer, at + 1, rest // 60 % 60, 2)
    buffer[at] = 58
    return _digits(buffer, at + 1, rest % 60, 2)


@numba.njit(nogil=True, cache=True)
def _calls(buffer: NDArray[np.uint8], at: int, key: int, values: np.uint64) -> int:
    at = _text(buffer, at, _CALLS)
    count = int(values >> np.uint64(40)) % 3
    for child in range(count):
        if child:
            buffer[at] = 44
            at += 1
        at = _text(buffer, at, _CALL)
        at = _date(buffer, at, 20_700 + key % 365 + 365 * child)
        at = _text(buffer, at, _PRICE)
        at = _digits(buffer, at, 100 + int(values >> np.uint64(43)) % 3, 3)
        buffer[at] = 46
        at = _digits(buffer, at + 1, int(values >> np.uint64(46 + child)) % 1000, 3)
        buffer[at], buffer[at + 1] = 34, 125
        at += 2
    buffer[at] = 93
    return at + 1


@numba.njit(nogil=True, cache=True)
def _record(
    buffer: NDArray[np.uint8], at: int, key: int, seconds: int, values: np.uint64, children: bool
) -> int:
    at = _text(buffer, at, _KEY)
    at = _digits(buffer, at, key, 10)
    at = _text(buffer, at, _FROM)
    at = _instant(buffer, at, seconds)
    at = _text(buffer, at, _ISSUER)
    at = _digits(buffer, at, key % 5000, 4)
    at = _text(buffer, at, _COUPON)
    at = _digits(buffer, at, int(values) & 7, 1)
    buffer[at] = 46
    at = _digits(buffer, at + 1, int(values >> np.uint64(3) & np.uint64(0xFFFFF)) % 1_000_000, 6)
    at = _text(buffer, at, _ACT if values >> np.uint64(63) else _THIRTY)
    at = _digits(buffer, at, 100 + int(values >> np.uint64(23) & np.uint64(0x3FF)) % 900, 3)
    buffer[at] = 125
    at += 1
    if children:
        at = _calls(buffer, at, key, values)
    buffer[at], buffer[at + 1] = 125, 10
    return at + 2


@numba.njit(nogil=True, cache=True)
def _break(buffer: NDArray[np.uint8], begin: int, at: int, how: int) -> int:
    """Spoil the record in [begin, at): not JSON, no key, no such day, or a coupon that is no number."""
    if how == 0:
        buffer[at - 40] = 10
        return at - 39
    buffer[begin + (4, 36, 95)[how - 1]] = (120, 57, 65)[how - 1]
    return at


@numba.njit(nogil=True, cache=True)
def _render(
    buffer: NDArray[np.uint8],
    first: int,
    last: int,
    seed: int,
    step: int,
    limits: NDArray[np.float64],
    children: bool,
    counts: NDArray[np.int64],
    lasts: NDArray[np.int64],
) -> int:
    """Write records [first, last); `lasts` has the time and the values' number of each key's last one."""
    at = 0
    for number in range(first, last):
        values_number = number + (seed << 40)
        bits = _mix(values_number)
        key = int(bits >> np.uint64(1)) % len(counts)
        more = _mix(int(bits >> np.uint64(2)))
        roll = float(more >> np.uint64(11)) / 9007199254740992.0
        seconds, latest = counts[key] * step, (counts[key] - 1) * step
        if roll < limits[0] or latest <= 0 or roll >= limits[3]:
            counts[key] += 1
        elif roll < limits[1]:
            seconds, values_number = lasts[key]
        elif roll < limits[2]:
            seconds = int(_mix(int(more >> np.uint64(1))) >> np.uint64(1)) % latest
        else:
            seconds = lasts[key, 0]
        begin = at
        at = _record(buffer, at, key, _FIRST_DAY * 86_400 + seconds, _mix(~values_number), children)
        if roll < limits[0]:
            at = _break(buffer, begin, at, number & 3)
        else:
            lasts[key, 0], lasts[key, 1] = seconds, values_number
    return at
