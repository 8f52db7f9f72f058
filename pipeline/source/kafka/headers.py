"""The headers of a record."""

from collections.abc import Sequence


def read_headers(raw: bytes) -> list[tuple[str, bytes | None]]:
    r"""Names and values, from the bytes that `Records.headers` gives.

    Example:
        >>> read_headers(b"\x02\x02a\x04bc")
        [('a', b'bc')]
    """
    count, at = _varint(raw, 0)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        size, at = _varint(raw, at)
        name = raw[at : at + size].decode("utf-8", "replace")
        size, at = _varint(raw, at + size)
        headers.append((name, raw[at : at + size] if size >= 0 else None))
        at += max(size, 0)
    return headers


def write_headers(headers: Sequence[tuple[str, bytes | None]]) -> bytes:
    r"""The bytes that `read_headers` reads.

    Example:
        >>> write_headers([("a", b"bc")])
        b'\x02\x02a\x04bc'
    """
    parts = [_zigzag(len(headers))]
    for name, value in headers:
        raw = name.encode()
        parts += [_zigzag(len(raw)), raw, _zigzag(-1 if value is None else len(value)), value or b""]
    return b"".join(parts)


def _zigzag(value: int) -> bytes:
    left, out = value << 1 ^ value >> 63, bytearray()
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)
    return bytes(out)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value >> 1 ^ -(value & 1), at
        shift += 7
