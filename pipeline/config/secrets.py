"""Keeps passwords, tokens and keys out of everything that is printed."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code)?(?![a-z])|pwd|secret|token|credential|jaas|authorization|connection.?string|signature"
    r"|(^|[._-])key($|[._-])|(access|account|api|private|encryption|shared|storage|sas|ssl|keystore).?key|(^|[._-])sas([._-]|$)",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(?<=://).*@", re.DOTALL)  # to the last @: passwords hold any character
_PARAMETER = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?P<equals>\s*=\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^&;,\s\"']+)"
)


def is_secret(name: object) -> bool:
    """Whether a setting of this name holds something that must not be printed."""
    return isinstance(name, str) and _SECRET_NAME.search(name) is not None


def redacted(value: Any) -> Any:
    """The value with every secret in it replaced: by name in mappings, by place in URIs and parameters."""
    if isinstance(value, Mapping):
        return {k: HIDDEN if is_secret(k) and v is not None else redacted(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    if isinstance(value, str):
        return _redacted_text(value)
    return value


def _redacted_text(text: str) -> str:
    text = _USER_INFO.sub(f"{HIDDEN}@", text)
    return _PARAMETER.sub(
        lambda m: f"{m['name']}{m['equals']}{HIDDEN}" if is_secret(m["name"]) else m[0],
        text,
    )


class Properties(dict[str, Any]):
    """Settings passed on to another library as they are; printing them hides the secrets."""

    def __repr__(self) -> str:
        return repr(redacted(self))

    __str__ = __repr__
