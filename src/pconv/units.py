"""Quantities as people read them."""


def milliseconds(value_ms: float) -> str:
    """Write a time with three digits, and no more than microseconds."""
    digits = 0 if value_ms >= 100 else 1 if value_ms >= 10 else 2 if value_ms >= 1 else 3
    return f"{value_ms:.{digits}f} ms"


def megabytes(size_bytes: int) -> str:
    """Write a size with at least three digits."""
    return f"{size_bytes / 1e6:.2f} MB" if size_bytes < 1e7 else f"{size_bytes / 1e6:.1f} MB"
