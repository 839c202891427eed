import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from warmstart.engine.solvers.eigenbasis import eigenbasis
from warmstart.engine.solvers.linear_heads import (
    HeadConfiguration,
    batch_plan,
    cross_validate_linear_heads,
    train_linear_heads,
)
from warmstart.engine.solvers.scaling import center_and_scale, fold, rows
from warmstart.engine.solvers.softmax_regression import softmax_regression


def blobs(count=60, size=10, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return torch.randn(count, size, generator=g) + torch.randn(classes, size, generator=g)[labels], labels


class TestSoftmaxRegression:
    @pytest.mark.parametrize("size", [10, 200], ids=["more rows than features", "fewer"])
    def test_equals_sklearn_in_float64(self, size):
        x, y = blobs(size=size)
        x = x.double() - x.double().mean(dim=0)
        strengths = torch.tensor([1.0, 0.01, 100.0])
        weights, biases = softmax_regression(x, y, 4, 1 / (60 * strengths), tolerance=1e-16)
        for k, C in enumerate(strengths.tolist()):
            peer = LogisticRegression(C=C, tol=1e-12, max_iter=20000).fit(x.numpy(), y.numpy())
            np.testing.assert_allclose(weights[k, 0].numpy(), peer.coef_, atol=2e-5)
            found = (x @ weights[k, 0].T + biases[k, 0]).softmax(dim=1)
            np.testing.assert_allclose(found.numpy(), peer.predict_proba(x.numpy()), atol=2e-6)

    def test_solution_is_a_stationary_point_in_float32(self):
        x, y = blobs()
        penalty = 1e-3
        weights, biases = softmax_regression(x, y, 4, torch.tensor([penalty]))
        w, b = weights[0, 0].double().requires_grad_(), biases[0, 0].double().requires_grad_()
        loss = torch.nn.functional.cross_entropy(x.double() @ w.T + b, y) + penalty / 2 * w.square().sum()
        gradients = torch.autograd.grad(loss, [w, b])
        assert max(g.abs().max() for g in gradients) < 2e-3

    def test_subsets_solved_together_equal_each_alone(self):
        x, y = blobs()
        x = x.double()
        seen = torch.arange(60) % 3 != torch.arange(3)[:, None]
        together, _ = softmax_regression(x, y, 4, torch.tensor([0.1, 0.01]), seen, tolerance=1e-14)
        for f in range(3):
            alone, _ = softmax_regression(x[seen[f]], y[seen[f]], 4, torch.tensor([0.01]), tolerance=1e-14)
            torch.testing.assert_close(together[1, f], alone[0, 0], rtol=1e-4, atol=1e-5)

    def test_separable_rows_at_a_weak_penalty_stay_finite(self):
        x, y = torch.eye(6) * 10, torch.arange(6)
        weights, biases = softmax_regression(x, y, 6, torch.tensor([1e-8]))
        assert weights.isfinite().all()
        assert ((x @ weights[0, 0].T + biases[0, 0]).argmax(dim=1) == y).all()


class TestLinearHeads:
    CONFIGURATIONS = (HeadConfiguration(0.03, 0.1, 40), HeadConfiguration(0.003, 0.0, 40))

    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_each_head_equals_torch_optim_on_the_same_batches(self, optimizer):
        x, y = blobs()
        weights, biases = train_linear_heads(x, y, 4, self.CONFIGURATIONS, batch_size=16, seed=3, optimizer=optimizer)
        plan = batch_plan(torch.ones(60, dtype=torch.bool), 40, 16, seed=3)
        for h, c in enumerate(self.CONFIGURATIONS):
            w, b = torch.zeros(4, 10, requires_grad=True), torch.zeros(4, requires_grad=True)
            groups = [{"params": [w], "weight_decay": c.weight_decay}, {"params": [b], "weight_decay": 0.0}]
            if optimizer == "adamw":
                peer = torch.optim.AdamW(groups, lr=c.learning_rate)
            else:
                peer = torch.optim.SGD([w, b], lr=c.learning_rate, momentum=0.9)
            for step, batch in enumerate(plan):
                rate = c.learning_rate * (1 + math.cos(math.pi * step / 40)) / 2
                for group in peer.param_groups:
                    group["lr"] = rate
                peer.zero_grad()
                torch.nn.functional.cross_entropy(x[batch] @ w.T + b, y[batch]).backward()
                if optimizer == "sgd":
                    w.data.mul_(1 - rate * c.weight_decay)
                peer.step()
            torch.testing.assert_close(weights[h], w.detach(), rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(biases[h], b.detach(), rtol=1e-3, atol=1e-5)

    def test_same_seed_same_heads(self):
        x, y = blobs()
        a, _ = train_linear_heads(x, y, 4, self.CONFIGURATIONS, batch_size=16, seed=1)
        b, _ = train_linear_heads(x, y, 4, self.CONFIGURATIONS, batch_size=16, seed=1)
        c, _ = train_linear_heads(x, y, 4, self.CONFIGURATIONS, batch_size=16, seed=2)
        assert torch.equal(a, b)
        assert not torch.equal(a, c)

    def test_head_does_not_depend_on_its_neighbours(self):
        x, y = blobs()
        longer = (*self.CONFIGURATIONS, HeadConfiguration(0.1, 0.0, 90))
        a, _ = train_linear_heads(x, y, 4, self.CONFIGURATIONS, batch_size=16)
        b, _ = train_linear_heads(x, y, 4, longer, batch_size=16)
        torch.testing.assert_close(a, b[:2])

    def test_head_does_not_depend_on_rows_it_does_not_see(self):
        x, y = blobs()
        seen = (torch.arange(60) < 40)[None]
        spoilt = torch.where(seen.T, x, 1e3)
        a, _ = train_linear_heads(x, y, 4, self.CONFIGURATIONS[:1], seen)
        b, _ = train_linear_heads(spoilt, y, 4, self.CONFIGURATIONS[:1], seen)
        assert torch.equal(a, b)

    def test_out_of_fold_scores_equal_heads_trained_one_by_one(self):
        x, y = blobs()
        folds = torch.arange(60) // 4 % 3
        found = cross_validate_linear_heads(x, y, 4, self.CONFIGURATIONS, folds, batch_size=16)
        for k, c in enumerate(self.CONFIGURATIONS):
            for f in range(3):
                weights, biases = train_linear_heads(x, y, 4, [c], (folds != f)[None], batch_size=16)
                wanted = x[folds == f] @ weights[0].T + biases[0]
                torch.testing.assert_close(found[k, folds == f], wanted, rtol=1e-4, atol=1e-5)

    def test_every_row_is_seen_before_one_is_seen_again(self):
        plan = batch_plan(torch.arange(30) % 2 == 0, steps=6, batch_size=5, seed=0)
        assert plan.flatten()[:15].sort().values.tolist() == list(range(0, 30, 2))


class TestScaling:
    @pytest.mark.parametrize("scaling", ["unit", "standard"])
    def test_folded_head_gives_the_scores_of_the_scaled_rows(self, scaling):
        x, _ = blobs()
        scaled, mean, factor = center_and_scale(x, scaling)
        torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(10), atol=1e-6, rtol=0)
        torch.testing.assert_close(scaled.square().sum(dim=1).mean(), torch.tensor(1.0))
        weights, biases = torch.randn(3, 10), torch.randn(3)
        folded, shifted = fold(weights, biases, mean, factor)
        found = rows(x, scaling) @ folded.T + shifted
        torch.testing.assert_close(found, scaled @ weights.T + biases, rtol=1e-4, atol=1e-4)

    def test_unknown_scaling_is_refused(self):
        with pytest.raises(ValueError, match="'unit', 'standard'"):
            center_and_scale(torch.ones(2, 2), "robust")


@pytest.mark.parametrize("size", [5, 40])
def test_eigenbasis_spans_the_rows(size):
    x = torch.randn(20, size, generator=torch.Generator().manual_seed(0))
    basis, variances = eigenbasis(x)
    torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(x @ basis @ basis.T, x, atol=1e-4, rtol=0)
    torch.testing.assert_close((x @ basis).square().mean(dim=0), variances, atol=1e-4, rtol=1e-4)
