"""One vocabulary of part names for every known architecture."""

import pytest
import torch
from tiny_models import IMAGE_FAMILIES, TEXT_FAMILIES

from warmstart.models import load_model
from warmstart.models.layouts import LAYOUTS, layout_of

FAMILIES = (*TEXT_FAMILIES, *(family for family in IMAGE_FAMILIES if family != "mobilenet"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_part_that_a_layout_names_is_there(tiny, family):
    tower = tiny(family).tower()
    assert type(tower.module).__name__ in LAYOUTS
    for name in tower.layout.parts:
        parts = tower.parts(f"block.*.{name}")
        assert [part.name for part in parts] == [f"block.{i}.{name}" for i in range(3)]


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_have_the_widths_their_names_promise(tiny, family):
    tower = tiny(family).tower()

    def width(name: str) -> tuple[int, int]:
        part = tower.parts(f"block.0.{name}")[0]
        rows, columns = part.module.weight.shape
        rows, columns = (columns, rows) if part.transposed else (rows, columns)
        return columns, rows // part.slice[1] if part.slice else rows

    assert width("attention.query") == width("attention.out") == (16, 16)
    read, inner = width("ffn.in")
    assert width("ffn.out") == (inner, read)
    assert read == 16 < inner


def test_an_unknown_part_names_the_known_ones(tiny):
    with pytest.raises(LookupError, match=r"no part 'block\.0\.nonsense'; known here: .*block\.\*\.attention\.key"):
        tiny("bert").tower().parts("block.0.nonsense")


def test_an_unknown_architecture_knows_its_blocks_and_enters_none():
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = torch.nn.Conv2d(3, 4, 1)
            self.stages = torch.nn.ModuleList([torch.nn.Conv2d(4, 4, 1) for _ in range(5)])

    layout = layout_of(Network())
    assert (layout.blocks, layout.resumable, layout.parts) == ("stages", False, {})
    assert load_model(Network()).blocks_below(2) == 0
