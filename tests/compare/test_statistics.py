import numpy as np
import pytest

from warmstart.compare.statistics import Bootstrap, holm, pareto


def answers(rng, accuracies, seeds=3, rows=600):
    """(M, S, N) bool: independent answers, right with the given probability."""
    return rng.random((len(accuracies), seeds, rows)) < np.array(accuracies)[:, None, None]


def bootstrap(correct, resamples=2000, seed=0):
    """correct (M, S, N), bool or float; a trial with any NaN is missing."""
    correct = np.asarray(correct, dtype=float)
    labels, answers = np.ones(correct.shape[2], np.int64), (correct > 0.5).astype(np.int64)
    return Bootstrap.of(labels, answers, ~np.isnan(correct).any(2), resamples=resamples, seed=seed)


def test_holm_equals_hand_computation():
    # sorted: .01 * 4, .02 * 3, .03 * 2 (held up to .06), .04 * 1 (held up to .06)
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.02])), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.5])), [1.0, 1.0])


def test_holm_does_not_count_missing_comparisons():
    np.testing.assert_allclose(holm(np.array([np.nan, 0.01, 0.5])), [np.nan, 0.02, 0.5])


def test_pareto_front_holds_what_nothing_dominates():
    cost, score = np.array([1, 2, 3, 2, 1, np.nan]), np.array([0.5, 0.7, 0.6, 0.7, 0.4, 0.9])
    assert pareto(cost, score).tolist() == [True, True, False, True, False, False]


def test_means_are_plain_accuracies():
    correct = np.array([[[1, 1, 0, 0], [1, 0, 0, 0]]], float)
    boot = bootstrap(correct)
    assert boot.scores.tolist() == [[0.5, 0.25]]
    assert boot.means.tolist() == [0.375]


def test_one_seed_interval_equals_binomial_quantiles():
    correct = (np.arange(400) < 300)[None, None]
    low, high = bootstrap(correct, resamples=20000).interval(0)
    half = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    np.testing.assert_allclose([low, high], [0.75 - half, 0.75 + half], atol=0.003)


def test_seeds_add_their_unbiased_variance():
    # no test-set luck at all: every row of a seed is right, or every row of it is wrong
    correct = np.zeros((1, 4, 50))
    correct[0, :2] = 1
    boot = bootstrap(correct, resamples=20000)
    means = boot._over_seeds(boot.samples[:, 0], np.ones(4, bool))
    assert means.var() == pytest.approx(np.var([1, 1, 0, 0], ddof=1) / 4, rel=0.05)


def test_interval_covers_the_true_accuracy():
    rng = np.random.default_rng(0)
    runs, covered = 200, 0
    for run in range(runs):
        difficulty = rng.beta(6, 2, 200)  # of the same test rows for all seeds; mean 0.75
        skill = rng.normal(0, 0.01, (5, 1))
        correct = rng.random((5, 200)) < difficulty + skill
        low, high = bootstrap(correct[None], resamples=400, seed=run).interval(0)
        covered += low <= 0.75 <= high
    assert covered / runs >= 0.9


def test_p_values_of_equal_methods_are_uniform():
    rng = np.random.default_rng(1)
    p = np.array(
        [bootstrap(answers(rng, [0.7, 0.7], 1, 300), resamples=400, seed=run).difference(0, 1).p for run in range(300)]
    )
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert 0.4 <= np.median(p) <= 0.6


def test_cheapest_of_many_equal_methods_is_rarely_called_worse():
    rng = np.random.default_rng(2)
    runs = 150
    called = 0
    for run in range(runs):
        boot = bootstrap(answers(rng, [0.7] * 8, 1, 250), resamples=800, seed=run)
        called += boot.against(boot.best)[0] < 0.05
    assert called / runs <= 0.05


def test_clearly_better_method_is_significant():
    boot = bootstrap(answers(np.random.default_rng(3), [0.9, 0.8, 0.7]))
    assert boot.best == 0
    assert boot.against(0)[0] == 1
    assert (boot.against(0)[1:] < 0.01).all()
    assert boot.difference(0, 1).low > 0


def test_pairing_finds_what_separate_intervals_do_not():
    rng = np.random.default_rng(4)
    weaker = rng.random(1000) < 0.7
    stronger = weaker.copy()
    stronger[np.flatnonzero(~weaker)[:15]] = True
    boot = bootstrap(np.stack([weaker, stronger])[:, None])
    assert boot.interval(0)[1] > boot.interval(1)[0]
    assert boot.difference(1, 0).p < 0.01


def test_identical_answers_have_p_one():
    one = np.random.default_rng(5).random((1, 3, 100)) < 0.6
    assert bootstrap(np.concatenate([one, one])).difference(0, 1) == (0, 0, 0, 1)


def test_methods_are_compared_on_the_seeds_they_share():
    rng = np.random.default_rng(6)
    correct = answers(rng, [0.9, 0.9, 0.9]).astype(float)
    correct[0, 2] = 0  # method 0 collapses with the seed that method 1 lacks
    correct[1, 2] = np.nan
    correct[2, :2] = np.nan
    boot = bootstrap(correct)
    assert boot.means[1] == pytest.approx(np.nanmean(correct[1, :2]))
    assert boot.difference(0, 1).estimate == pytest.approx(correct[0, :2].mean() - correct[1, :2].mean())
    assert np.isnan(boot.difference(1, 2).p)
    assert np.isnan(boot.against(1)[2])
    assert boot.interval(2)[0] <= boot.means[2] <= boot.interval(2)[1]


def test_method_without_any_seed_is_nan_and_hinders_nobody():
    correct = answers(np.random.default_rng(7), [0.5, 0.9]).astype(float)
    correct[0] = np.nan
    boot = bootstrap(correct)
    assert boot.best == 1
    assert np.isnan([boot.means[0], *boot.interval(0), boot.against(1)[0]]).all()


def test_same_seed_gives_same_numbers():
    correct = answers(np.random.default_rng(8), [0.6, 0.7])
    first, again = bootstrap(correct, seed=3), bootstrap(correct, seed=3)
    np.testing.assert_array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, bootstrap(correct, seed=4).samples)


def test_macro_f1_of_a_resample_equals_scikit_learn():
    from sklearn.metrics import f1_score

    from warmstart.compare.resampling import macro_f1
    from warmstart.engine.resampling import example_weights

    rng = np.random.default_rng(9)
    labels, predictions = rng.integers(0, 5, 40), rng.integers(0, 6, (3, 40))
    weights = next(example_weights(40, 25, rng))
    scores = macro_f1(labels, predictions)(weights)
    for row, drawn in zip(scores, weights.astype(int), strict=True):
        repeated = np.repeat(np.arange(40), drawn)
        expected = [f1_score(labels[repeated], p[repeated], average="macro") for p in predictions]
        np.testing.assert_allclose(row, expected, rtol=1e-6)


def test_macro_f1_can_disagree_with_accuracy():
    labels = np.r_[np.zeros(95, int), np.ones(5, int)]
    always, fair = np.zeros(100, int), np.r_[np.zeros(85, int), np.ones(15, int)]
    predictions = np.stack([always, fair])[:, None]
    assert Bootstrap.of(labels, predictions).best == 0
    assert Bootstrap.of(labels, predictions, metric="macro_f1").best == 1


def test_smallest_p_value_survives_holm_over_many_methods():
    boot = bootstrap(answers(np.random.default_rng(10), [0.95] + [0.3] * 79, 1, 100), resamples=100)
    assert (boot.against(0)[1:] < 0.05).all()


def test_unknown_metric_and_empty_test_set_are_refused():
    with pytest.raises(ValueError, match="macro_f1"):
        Bootstrap.of(np.zeros(3), np.zeros((1, 1, 3)), metric="auc")
    with pytest.raises(ValueError, match="no test examples"):
        Bootstrap.of(np.zeros(0), np.zeros((1, 1, 0)))
