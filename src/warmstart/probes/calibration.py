"""Whether confidence means what it says."""

from __future__ import annotations

import numpy as np
import torch

from ..data.dataset import Splits
from ..engine.calibration import brier_score, expected_calibration_error, reliability
from ..engine.cast import Cast
from ..engine.readout import class_scores, labelled
from ..engine.search import Fitted, fit_temperature
from . import Probe


class Calibration(Probe):
    """The gap between confidence and accuracy on the test rows.

    ece = sum_b n_b / N |accuracy_b - confidence_b| over bins of equal width, confidence = max_c p_c;
    brier = mean_i sum_c (p_ic - [y_i = c])^2; temperature: the T that minimises the NLL of softmax(scores / T)
    on these rows (above 1: overconfident); overconfidence = mean confidence - accuracy.
    bin_count, bin_confidence, bin_accuracy: the reliability diagram, None in empty bins.

    Raises ValueError where nothing answers, or no test row has a label.
    Source: Guo et al. 2017 (arXiv 1706.04599); Brier 1950.
    Differs from the paper: the temperature is fitted on the rows that are judged, as a measurement.
    """

    def __init__(self, bins: int = 15):
        if bins < 1:
            raise ValueError(f"bins is {bins}; at least 1 is needed")
        self.bins = bins

    def measure(self, cast: Cast, data: Splits, fitted: Fitted | None = None) -> dict:
        test = data.test.take(labelled(data.test))
        if not len(test):
            raise ValueError(f"calibration needs labels, and {data.test.name} has none")
        scores = class_scores(cast.model, test, fitted)
        probabilities = scores.double().softmax(1).numpy()
        confidence, correct = probabilities.max(1), probabilities.argmax(1) == test.labels
        bins = reliability(confidence, correct, self.bins)
        temperature, _ = fit_temperature(scores, torch.from_numpy(test.labels))
        return {
            "ece": expected_calibration_error(confidence, correct, self.bins),
            "brier": brier_score(probabilities, test.labels),
            "temperature": temperature,
            "overconfidence": float(confidence.mean() - correct.mean()),
            "bin_count": bins.count.tolist(),
            "bin_confidence": _plain(bins.confidence),
            "bin_accuracy": _plain(bins.accuracy),
        }


def _plain(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
