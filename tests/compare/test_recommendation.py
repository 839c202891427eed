import re

import numpy as np
import pytest

from warmstart.compare.recommendation import cross_fit, halves, recommend, verdict


def predictions_of(rng, labels, accuracies, seeds=3):
    """(M, S, N) answers that are right with the given probability, else the next class."""
    right = rng.random((len(accuracies), seeds, len(labels))) < np.array(accuracies)[:, None, None]
    return np.where(right, labels, (labels + 1) % 10)


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 10, 1000)


def sentences(text):
    return re.split(r"(?<=[.])\s+(?=[A-Z])", text.strip())


def say(names, chosen, seconds, floors=None, last_resort=None, **options):
    none = np.zeros(len(names), bool)
    floors = none if floors is None else np.array(floors, bool)
    last_resort = none if last_resort is None else np.array(last_resort, bool)
    return verdict(names, chosen, np.array(seconds, float), floors, last_resort, options.pop("shots", 5), **options)


def test_halves_split_every_class_evenly(labels):
    second = halves(labels, seed=1)
    sizes = np.array([[(second[labels == c] == h).sum() for c in range(10)] for h in (False, True)])
    assert (np.abs(sizes[0] - sizes[1]) <= 1).all()
    assert abs(second.sum() - (~second).sum()) <= 1
    assert (second != halves(labels, seed=2)).any()


def test_cheapest_equivalent_is_recommended_over_the_best(labels):
    predictions = predictions_of(np.random.default_rng(1), labels, [0.6, 0.8, 0.805, 0.8])
    chosen = recommend(labels, predictions, np.array([0.1, 1.0, 60.0, 5.0]))
    assert chosen.method == 1
    assert chosen.p_holm[0] < 0.05
    assert chosen.chosen_on_halves == (1, 1)
    assert chosen.score == pytest.approx((predictions[1] == labels).mean())
    assert chosen.low < chosen.score < chosen.high


def test_clearly_best_is_recommended_however_slow(labels):
    predictions = predictions_of(np.random.default_rng(2), labels, [0.6, 0.7, 0.9])
    assert recommend(labels, predictions, np.array([0.1, 1.0, 60.0])).method == 2


def test_equal_cost_is_decided_by_the_mean_and_then_by_trainable_parameters(labels):
    predictions = predictions_of(np.random.default_rng(3), labels, [0.78, 0.8])
    assert recommend(labels, predictions, np.array([0.01, 0.9])).method == 1
    twice = np.stack([predictions[0], predictions[0]])
    assert recommend(labels, twice, np.ones(2), np.array([500, 20])).method == 1


def test_last_resort_wins_only_where_no_other_is_left(labels):
    rng = np.random.default_rng(4)
    cost, majority = np.array([0.0, 1.0]), np.array([True, False])
    equal = recommend(labels, predictions_of(rng, labels, [0.8, 0.8]), cost, last_resort=majority)
    worse = recommend(labels, predictions_of(rng, labels, [0.8, 0.5]), cost, last_resort=majority)
    assert (equal.method, worse.method) == (1, 0)


def test_choosing_among_equal_noise_is_not_flattered_by_cross_fitting():
    rng = np.random.default_rng(5)
    labels = np.arange(200) % 10
    crossed, best = [], []
    for run in range(60):
        predictions = predictions_of(rng, labels, [0.5] * 15, seeds=1)
        everyone = np.ones((15, 1), bool)
        _, answers, _ = cross_fit(lambda b: b.best, labels, predictions, everyone, resamples=1, seed=run)
        crossed.append((answers == labels).mean())
        best.append((predictions == labels).mean((1, 2)).max())
    assert np.mean(best) > 0.54
    assert np.mean(crossed) == pytest.approx(0.5, abs=0.012)


def test_score_of_each_half_is_that_of_the_method_chosen_on_the_other():
    labels = np.zeros(400, int)
    second = halves(labels, seed=0)
    # each method is perfect on one half and useless on the other: choosing flatters as much as it can
    predictions = np.stack([np.where(second, 1, 0), np.where(second, 0, 1)])[:, None]
    chosen = recommend(labels, predictions, np.ones(2))
    assert chosen.chosen_on_halves == (0, 1)
    assert chosen.score == 0


def test_failed_seeds_and_failed_methods_are_left_out(labels):
    predictions = predictions_of(np.random.default_rng(6), labels, [0.8, 0.8, 0.99])
    present = np.array([[True, False, True], [True, True, True], [False, False, False]])
    chosen = recommend(labels, predictions, np.array([1.0, 2.0, 0.1]), present=present)
    assert chosen.method == 0
    assert chosen.score == pytest.approx((predictions[0, [0, 2]] == labels).mean())


def test_macro_f1_is_cross_fitted_too(labels):
    from sklearn.metrics import f1_score

    predictions = predictions_of(np.random.default_rng(7), labels, [0.8], seeds=1)
    chosen = recommend(labels, predictions, np.ones(1), metric="macro_f1")
    assert chosen.score == pytest.approx(f1_score(labels, predictions[0, 0], average="macro"))
    assert chosen.accuracy == pytest.approx((predictions == labels).mean())


def test_a_single_test_row_does_not_break_the_rule():
    chosen = recommend(np.array([1]), np.array([[[1]], [[0]]]), np.array([2.0, 1.0]))
    assert chosen.chosen_on_halves == (chosen.method, chosen.method)


def test_verdict_states_that_nothing_beats_the_cheapest(labels):
    predictions = predictions_of(np.random.default_rng(8), labels, [0.8, 0.8, 0.4])
    seconds = [0.02, 30, 0.5]
    chosen = recommend(labels, predictions, np.array(seconds))
    text = say(["nearest_mean", "lora", "tfidf"], chosen, seconds, floors=[0, 0, 1])
    first, second = sentences(text)
    assert first.startswith("No method is significantly better than nearest_mean, the cheapest: ")
    assert f"{100 * chosen.score:.1f} % accuracy" in first
    assert "3 seeds) with 5 labels a class, in 0.02 s." in first
    assert second.startswith("Pretraining helped: tfidf, the best without it, reaches ")


def test_verdict_does_not_call_a_method_cheapest_where_a_floor_is_cheaper(labels):
    predictions = predictions_of(np.random.default_rng(14), labels, [0.4, 0.8, 0.8])
    chosen = recommend(labels, predictions, np.array([1, 2, 3]))
    text = say(["tfidf", "knn", "full"], chosen, [1, 2, 3], floors=[1, 0, 0])
    assert "better than knn, the cheapest that uses the pretrained model: " in text


def test_verdict_names_what_the_choice_is_measured_against(labels):
    predictions = predictions_of(np.random.default_rng(9), labels, [0.5, 0.8, 0.81])
    seconds = [0.02, 4, 30]
    chosen = recommend(labels, predictions, np.array(seconds))
    text = say(["nearest_mean", "logistic", "lora"], chosen, seconds, shots="all")
    best = ["nearest_mean", "logistic", "lora"][chosen.best]
    assert (
        text.startswith(f"logistic is the cheapest method not significantly below the best ({best}, ")
        or best == "logistic"
    )
    assert "with all labels" in text
    assert text.endswith("whether pretraining helped is not known.")


def test_verdict_names_the_best_where_all_cheaper_ones_are_worse(labels):
    predictions = predictions_of(np.random.default_rng(10), labels, [0.5, 0.9])
    chosen = recommend(labels, predictions, np.array([1, 2]))
    text = say(["knn", "full"], chosen, [1, 2], shots=1, partial=True)
    assert text.startswith("So far: full is the best, significantly above every cheaper method: ")
    assert "with 1 label a class" in text


def test_verdict_admits_when_pretraining_does_not_help(labels):
    rng = np.random.default_rng(11)
    wins = recommend(labels, predictions_of(rng, labels, [0.8, 0.8]), np.array([1, 2]))
    text = say(["tfidf", "knn"], wins, [1, 2], floors=[1, 0])
    assert "The pretrained model does not help here: tfidf does without it" in text
    equal = recommend(labels, predictions_of(rng, labels, [0.8, 0.8]), np.array([2, 1]))
    assert "Whether pretraining helped is not shown" in say(["tfidf", "knn"], equal, [2, 1], floors=[1, 0])


def test_verdict_does_not_sell_the_majority_class(labels):
    predictions = predictions_of(np.random.default_rng(12), labels, [0.8, 0.5])
    majority = np.array([True, False])
    chosen = recommend(labels, predictions, np.array([0, 1]), last_resort=majority)
    text = say(["majority", "knn"], chosen, [0, 1], floors=[1, 0], last_resort=majority)
    assert text.startswith("Every method is significantly below majority, which learns nothing")


@pytest.mark.parametrize("floor", [0.2, 0.8])
@pytest.mark.parametrize("others", [[0.8], [0.5, 0.8], [0.8, 0.8]])
@pytest.mark.parametrize("seeds", [1, 3])
def test_verdict_is_two_sentences(labels, floor, others, seeds):
    accuracies = [*others, floor]
    seconds = np.arange(len(accuracies)) + 0.5
    chosen = recommend(labels, predictions_of(np.random.default_rng(13), labels, accuracies, seeds), seconds)
    names = [f"method{i}" for i in range(len(accuracies))]
    text = say(names, chosen, seconds, floors=[0] * len(others) + [1])
    assert len(re.findall(r"\.(?:\s|$)", text)) == 2
