"""The method to use, chosen without flattering it, and the verdict in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .statistics import Bootstrap
from .wording import seconds_name, shots_name

ALPHA = 0.05
METRIC_WORDS = {"accuracy": "accuracy", "macro_f1": "macro F1"}


@dataclass(frozen=True)
class Recommendation:
    """The cheapest method not significantly below the best; methods are indices into the arrays given.

    method: the rule applied to the whole test set; best: the highest mean there.
    score, low, high: the cross-fitted score of the rule: chosen on one half of the test set and scored on the
        other, both ways. The interval is for the methods so chosen.
    accuracy: the accuracy of the same cross-fitted answers (equal to score where that is the metric).
    chosen_on_halves: what the rule chose on each half.
    p_holm: (M,) against the best, on the whole test set.
    bootstrap: of the whole test set.
    """

    method: int
    best: int
    score: float
    low: float
    high: float
    accuracy: float
    chosen_on_halves: tuple[int, int]
    p_holm: np.ndarray
    bootstrap: Bootstrap


def recommend(
    labels: np.ndarray,
    predictions: np.ndarray,
    seconds: np.ndarray,
    parameters: np.ndarray | None = None,
    present: np.ndarray | None = None,
    last_resort: np.ndarray | None = None,
    metric: str = "accuracy",
    resamples: int = 2000,
    seed: int = 0,
    bootstrap: Bootstrap | None = None,
) -> Recommendation:
    """Choose by the rule: the lowest cost (of equals, the best mean) among p_holm >= 0.05.

    Costs that differ by less than a factor of two, or that are both below a second, are equal: such differences
    are noise of the machine, and no reason to choose.

    labels (N,); predictions (M, S, N); present (M, S) bool; seconds (M,) median over seeds; parameters (M,)
    trainable; last_resort (M,) bool marks methods chosen only where no other is left (the majority class).
    bootstrap: of the same whole test set, where it is at hand.
    """
    methods = len(predictions)
    present = np.ones(predictions.shape[:2], bool) if present is None else np.asarray(present, bool)
    parameters = np.zeros(methods) if parameters is None else parameters
    last_resort = np.zeros(methods, bool) if last_resort is None else np.asarray(last_resort, bool)
    cost = cost_class(seconds)

    def rule(answers: Bootstrap) -> int:
        p_holm = answers.against(answers.best)
        order = np.lexsort((parameters, -answers.means, cost, last_resort))
        return int(next(m for m in order if p_holm[m] >= ALPHA))

    whole = bootstrap or Bootstrap.of(labels, predictions, present, metric, resamples, seed)
    chosen, crossed, both = cross_fit(rule, labels, predictions, present, metric, resamples, seed)
    scored = Bootstrap.of(labels, crossed[None], both[None], metric, resamples, seed)
    accuracy = (crossed[both] == labels).mean() if both.any() else np.nan
    p_holm = whole.against(whole.best)
    low, high = scored.interval(0)
    return Recommendation(
        rule(whole), whole.best, float(scored.means[0]), low, high, float(accuracy), chosen, p_holm, whole
    )


def cost_class(seconds: np.ndarray) -> np.ndarray:
    """Seconds in classes that double: 0 up to one second, 1 up to two, 2 up to four ... NaN stays NaN."""
    return np.ceil(np.log2(np.maximum(seconds, 1.0)))


def cross_fit(
    rule: Callable[[Bootstrap], int],
    labels: np.ndarray,
    predictions: np.ndarray,
    present: np.ndarray,
    metric: str = "accuracy",
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """What the rule chooses on either half; (S, N) the answers of each on the other; (S,) usable seeds.

    A single test row cannot be halved: it is chosen on and scored alike.
    """
    second = halves(labels, seed)
    if len(labels) < 2:
        choice = rule(Bootstrap.of(labels, predictions, present, metric, resamples, seed))
        chosen = (choice, choice)
    else:
        chosen = tuple(
            rule(Bootstrap.of(labels[half], predictions[:, :, half], present, metric, resamples, seed))
            for half in (~second, second)
        )
    crossed = np.where(second, predictions[chosen[0]], predictions[chosen[1]])
    return chosen, crossed, present[chosen[0]] & present[chosen[1]]


def halves(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """(N,) bool: a random half of every class (odd ones out alternate between the halves)."""
    order = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    second = np.empty(len(labels), bool)
    second[order] = np.arange(len(labels)) % 2 == 1
    return second


def verdict(
    names: Sequence[str],
    chosen: Recommendation,
    seconds: np.ndarray,
    floors: np.ndarray,
    last_resort: np.ndarray,
    shots: int | str,
    metric: str = "accuracy",
    partial: bool = False,
) -> str:
    """Two plain sentences: what to use, and whether pretraining helped.

    names: M readable names; floors (M,) bool marks what uses no pretraining; the others as in `recommend`.
    """
    seconds, floors, last_resort = np.asarray(seconds), np.asarray(floors), np.asarray(last_resort)
    first = _choice(names, chosen, seconds, floors, last_resort, shots, METRIC_WORDS[metric])
    second = _pretraining(names, chosen, floors, last_resort)
    return f"{'So far: ' if partial else ''}{first} {second}"


def _choice(names, chosen, seconds, floors, last_resort, shots, metric) -> str:
    method, best = chosen.method, chosen.best
    seeds = int((~np.isnan(chosen.bootstrap.scores[method])).sum())
    interval = f"95 % interval {100 * chosen.low:.1f} to {100 * chosen.high:.1f}"
    numbers = (
        f"{_percent(chosen.score)} {metric} ({interval}, {seeds} {'seed' if seeds == 1 else 'seeds'}) "
        f"with {shots_name(shots)}, in {seconds_name(seconds[method])}."
    )
    rivals = ~np.isnan(chosen.p_holm) & ~last_resort
    rivals[method] = False
    if not rivals.any():
        return f"{names[method]} is the only method to judge: {numbers}"
    if last_resort[method]:
        return f"Every method is significantly below {names[method]}, which learns nothing: {numbers}"
    cost = cost_class(seconds)
    cheaper, as_cheap = rivals & (cost < cost[method]), rivals & (cost == cost[method])
    if not (cheaper & ~floors).any():
        rank = "one of the cheapest" if (as_cheap & ~floors).any() else "the cheapest"
        among = " that use the pretrained model" if rank != "the cheapest" else " that uses the pretrained model"
        among = among if (cheaper & floors).any() else ""
        return f"No method is significantly better than {names[method]}, {rank}{among}: {numbers}"
    if method == best:
        return f"{names[method]} is the best, significantly above every cheaper method: {numbers}"
    leader = f"{names[best]}, {_percent(chosen.bootstrap.means[best])}"
    return f"{names[method]} is the cheapest method not significantly below the best ({leader}): {numbers}"


def _pretraining(names, chosen, floors, last_resort) -> str:
    means, method = chosen.bootstrap.means, chosen.method
    if last_resort[method]:
        return "The pretrained model does not help here: always answering the largest class does better."
    if floors[method]:
        why = f"{names[method]} does without it, and nothing is significantly better"
        return f"The pretrained model does not help here: {why}."
    rivals = np.flatnonzero(floors & ~last_resort & ~np.isnan(means))
    if not len(rivals):
        return "No method without pretraining was run beside it, so whether pretraining helped is not known."
    floor = rivals[np.argmax(means[rivals])]
    gap = f"{names[floor]}, the best without it, reaches {_percent(means[floor])}"
    only_rivals = Bootstrap(
        *(a[..., [method, *rivals], :] for a in (chosen.bootstrap.scores, chosen.bootstrap.samples)),
        chosen.bootstrap.draws,
    )
    p = only_rivals.against(0)[1:]
    if means[floor] < means[method] and (p < ALPHA).all():
        return f"Pretraining helped: {gap}, significantly less."
    if means[floor] > means[method] and p[list(rivals).index(floor)] < ALPHA:
        return f"The pretrained model does not help here: {gap}, significantly more."
    return f"Whether pretraining helped is not shown: {gap}, no significant difference."


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
