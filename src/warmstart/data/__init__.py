"""Rows with roles, and the sources they come from. `load_data(source) -> Splits` is the way in."""

from importlib import import_module

from .._verb import verb

_HOME = {
    "load_data": "load",
    "draw": "draws",
    "DataError": "dataset",
    "Dataset": "dataset",
    "Splits": "dataset",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    """Import on first use: `warmstart --help` must not pay for pyarrow."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def _data(source, **options):
    """`warmstart.data(source, ...)` is `load_data(source, ...)`."""
    return __getattr__("load_data")(source, **options)


verb(__name__, _data)
