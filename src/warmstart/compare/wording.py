"""Numbers of a comparison as its displays and its verdict say them."""

from __future__ import annotations


def shots_name(shots: int | str) -> str:
    """`16 labels a class`, `all labels`."""
    return "all labels" if shots == "all" else f"{shots} label{'s' if shots != 1 else ''} a class"


def seconds_name(seconds: float) -> str:
    """`1.50 s`, `24 s`."""
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
