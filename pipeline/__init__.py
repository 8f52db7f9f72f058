"""bitlake: streams of JSON records in, bi-temporal Apache Iceberg tables out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.lake import Lake

__all__ = ["Lake"]


def __getattr__(name: str) -> Any:
    """Import `Lake` when it is first asked for: the kernel's users don't need its libraries."""
    if name == "Lake":
        from pipeline.lake import Lake

        return Lake
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
