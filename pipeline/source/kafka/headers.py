"""The headers of a record."""


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


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = raw[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value >> 1 ^ -(value & 1), at
        shift += 7
