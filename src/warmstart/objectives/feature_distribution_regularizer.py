"""The head must also classify the features of the frozen encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..engine.cast import Cast
from ..engine.kept_features import keep_features
from ..engine.rows import Rows
from ..engine.scores import HEAD
from ..engine.step import Step
from . import Objective

_FROZEN = "frozen_features"


class FeatureDistributionRegularizer(Objective):
    """DR-Tune: the head classifies a queue of features of the encoder as it was, brought to where they are now.

    P, D (K, d): frozen and tuned features of the same last K rows, y their labels; all of unit length
    R = V diag(1, .., 1, det(V U^T)) U^T,  U S V^T = svd((P - mean P)^T (D - mean D))          (Kabsch)
    P <- (P - mean P) R^T + mean D
    P_k <- P_k + m_c - mean{P_j : y_j = c} for y_k = c,  m_c = sum_j softmax_j(cos(D_j, w_c)) D_j over y_j = c
    P <- |f| P / |P|,  |f| the mean length of the batch's features
    loss = mean_k CE(W P_k + b, y_k), without gradient into P; with `cross_entropy` beside it, whose head this is

    The encoder itself is not penalized. The paper's mean over B rows of the batch and K of the queue is a weight of
    K / B here, up to a factor. Frozen features of all rows are computed once; both queues begin with them.

    queue: K; no more than there are rows. rotate_every: updates between two computations of R, which stays in use.
    calibrate: False takes the frozen features as they are.
    Loss () float32. Raises ValueError where no head is attached: write `cross_entropy` before it.
    Source: Zhou, Chen, Huang 2023 (arXiv 2308.12058): K 2048, batches of 64, every 10 steps, SGD with momentum at 0.01,
    a larger rate for the head.
    Differs from the official code: a rotation stays in use between its updates, where the code leaves it out; the rows
    of the queue are distinct.
    """

    def __init__(self, queue: int = 2048, rotate_every: int = 10, calibrate: bool = True):
        if queue < 1 or rotate_every < 1:
            raise ValueError(f"queue and rotate_every count rows and updates, 1 or more, not {queue}, {rotate_every}")
        self.queue, self.rotate_every, self.calibrate = queue, rotate_every, calibrate

    def prepare(self, cast: Cast, data: Rows) -> None:
        if HEAD not in cast.model.attached:
            raise ValueError("feature_distribution_regularizer shares a head: write cross_entropy before it")
        known = keep_features(cast.model, data, _FROZEN)
        held = torch.randperm(len(known))[: min(self.queue, len(known))]
        self.rows_, self.labels_ = held, known.labels[held]
        self.frozen_ = known.features[held].clone()
        self.tuned_, self.rotation_ = self.frozen_.clone(), torch.eye(self.frozen_.shape[1])

    def loss(self, cast: Cast, batch: dict, step: Step) -> dict[str, Tensor]:
        head = cast.model.attached[HEAD]
        with torch.no_grad():
            features = cast.model.encode(batch).pooled.float()
        labels = self.labels_.to(features.device)
        with torch.autocast(features.device.type, enabled=False), torch.no_grad():
            pretrained = self._pretrained(features, labels, head.weight.float(), step)
        loss = nn.functional.cross_entropy(head(pretrained).float(), labels, ignore_index=-1)
        if torch.is_grad_enabled() and _FROZEN in batch:
            self._enqueue(batch, features)
        return {"feature_distribution": loss}

    def _pretrained(self, features: Tensor, labels: Tensor, prototypes: Tensor, step: Step) -> Tensor:
        """(K, d) what the head reads of the frozen features."""
        frozen, tuned = self.frozen_.to(features), self.tuned_.to(features)
        if not self.calibrate:
            return frozen
        if step.index % self.rotate_every == 0:
            self.rotation_ = rotation(_unit(frozen), _unit(tuned)).cpu()
        moved = calibrated(frozen, tuned, labels, prototypes, self.rotation_.to(features))
        return moved * features.norm(dim=1).mean()

    def _enqueue(self, batch: dict, features: Tensor) -> None:
        """The batch's rows become the latest; where a row is held already, its new features replace the old ones."""
        rows, now = batch["rows"].cpu(), features.cpu()
        fresh = ~torch.isin(self.rows_, rows)
        for name, latest in (
            ("rows_", rows),
            ("labels_", batch["label"].cpu()),
            ("frozen_", batch[_FROZEN].cpu()),
            ("tuned_", now),
        ):
            setattr(self, name, torch.cat([getattr(self, name)[fresh], latest])[-len(fresh) :])


def rotation(source: Tensor, target: Tensor) -> Tensor:
    """(d, d) the rotation R without reflection that brings centred rows of source nearest to those of target: R p."""
    u, _, vt = torch.linalg.svd((source - source.mean(0)).T @ (target - target.mean(0)))
    flip = torch.ones(len(u), device=u.device, dtype=u.dtype)
    flip[-1] = torch.linalg.det(vt.T @ u.T).sign()
    return vt.T @ torch.diag(flip) @ u.T


def calibrated(frozen: Tensor, tuned: Tensor, labels: Tensor, prototypes: Tensor, turn: Tensor) -> Tensor:
    """(K, d) of unit length: frozen features turned, and each class of them moved to the tuned ones of that class.

    prototypes: (C, d) the head's weights.
    """
    frozen, tuned = _unit(frozen), _unit(tuned)
    moved = (frozen - frozen.mean(0)) @ turn.T + tuned.mean(0)
    for label in labels[labels >= 0].unique():
        mine = labels == label
        confidence = (tuned[mine] @ _unit(prototypes[label])).softmax(0)
        moved[mine] += confidence @ tuned[mine] - moved[mine].mean(0)
    return _unit(moved)


def _unit(rows: Tensor) -> Tensor:
    return nn.functional.normalize(rows, dim=-1)
