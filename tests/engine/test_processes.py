"""Rows of several processes: a contrast over all of them, with gradients that find their owners."""

import torch
import torch.multiprocessing as multiprocessing

from warmstart.engine.processes import gathered
from warmstart.engine.step import Step
from warmstart.objectives.info_nce import InfoNce


def sides():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, 4, generator=generator) for _ in range(2)]


def loss_and_gradient(rows: slice):
    leaves = [side[rows].clone().requires_grad_() for side in sides()]
    objective = InfoNce(temperature=0.5, negatives="both")
    objective.pairing.embed = lambda *_: [torch.nn.functional.normalize(leaf, dim=-1) for leaf in leaves]
    losses = objective.loss(None, {}, Step())["info_nce"]
    losses.mean().backward()
    return losses.detach(), [leaf.grad for leaf in leaves]


def work(rank: int, folder: str):
    init = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    try:
        torch.save(loss_and_gradient(slice(3 * rank, 3 * rank + 3)), f"{folder}/{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def test_two_processes_contrast_the_rows_of_both_as_one_would(tmp_path):
    losses, gradients = loss_and_gradient(slice(None))
    multiprocessing.spawn(work, (str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    torch.testing.assert_close(torch.cat([part[0] for part in parts]), losses)
    for side in range(2):
        # Averaging over processes is what a distributed wrapper does to gradients.
        torch.testing.assert_close(torch.cat([part[1][side] for part in parts]) / 2, gradients[side])


def test_one_process_has_its_own_rows():
    rows = torch.randn(3, 2)
    found, start = gathered(rows)
    assert found is rows
    assert start == 0
