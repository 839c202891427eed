"""What is seen agrees with what is known of it."""

import numpy as np
import pytest

from warmstart.data.world import world
from warmstart.data.world.lexicon import SHAPES
from warmstart.data.world.motion import EVENTS


@pytest.fixture(scope="module")
def rows():
    roles = [
        "image", "image_2", "warp", "mask", "instances", "soft_mask", "depth", "boxes", "shape", "count", "presence",
        "edited", "feasible", "instruction", "video", "tracks", "events", "points", "point_owner", "audio",
    ]  # fmt: skip
    return world(roles=roles, train=60, test=1, look={"noise": 0.0}).train


def tensor(rows, role):
    return rows.table[role].combine_chunks().to_numpy_ndarray()


def test_boxes_hold_the_pixels_of_their_object(rows):
    instances, boxes = tensor(rows, "instances"), tensor(rows, "boxes")
    for owner, held in zip(instances, boxes, strict=True):
        for number in np.unique(owner[owner > 0]):
            y, x = np.nonzero(owner == number)
            left, top, right, bottom, _ = held[number - 1] * [32, 32, 32, 32, 1]
            assert left - 1.5 <= x.min()
            assert x.max() + 1 <= right + 1.5
            assert top - 1.5 <= y.min()
            assert y.max() + 1 <= bottom + 1.5


def test_a_box_ends_where_its_object_does():
    """Of every shape at every angle, to a pixel and a half of 64."""
    options = {"shapes": len(SHAPES), "rotation": 180, "objects": (1, 1), "size": 64}
    rows = world(roles=["instances", "boxes"], label="shape", train=100, test=1, **options).train
    for owner, held in zip(tensor(rows, "instances"), tensor(rows, "boxes")[:, 0] * 64, strict=True):
        y, x = np.nonzero(owner)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == pytest.approx(held[:4], abs=1.5)


def test_a_track_follows_the_subject():
    rows = world(roles=["video", "tracks"], train=30, test=1, objects=(1, 1), size=64, look={"noise": 0.0}).train
    for film, tracks in zip(tensor(rows, "video").astype(int), tensor(rows, "tracks") * 64, strict=True):
        y, x = np.nonzero(abs(film[0] - film[3]).max(axis=-1) > 12)
        both = tracks[[0, 3]]
        assert x.min() >= both[:, 0].min() - 1.5
        assert y.min() >= both[:, 1].min() - 1.5
        assert x.max() + 1 <= both[:, 2].max() + 1.5
        assert y.max() + 1 <= both[:, 3].max() + 1.5


def test_missing_objects_have_no_box(rows):
    shown = (tensor(rows, "boxes")[:, :, 4] >= 0).sum(axis=1)
    assert np.array_equal(shown, rows.table["count"].to_numpy())


def test_the_mask_says_the_shape_of_each_instance(rows):
    mask, instances, boxes = tensor(rows, "mask"), tensor(rows, "instances"), tensor(rows, "boxes")
    assert np.array_equal(mask > 0, instances > 0)
    for row in range(len(rows)):
        for number in np.unique(instances[row][instances[row] > 0]):
            assert (mask[row][instances[row] == number] == boxes[row, number - 1, 4] + 1).all()


def test_the_soft_mask_is_the_subject_with_its_edges(rows):
    soft, subject = tensor(rows, "soft_mask"), tensor(rows, "instances") == 1
    assert (soft[subject] >= 0.5).all()
    assert (soft[~subject] <= 0.5).all()
    assert ((soft > 0.05) & (soft < 0.95)).any()


def test_objects_are_nearer_than_the_ground(rows):
    depth, instances = tensor(rows, "depth"), tensor(rows, "instances")
    assert depth[instances > 0].max() < depth[instances == 0].min()


def test_the_second_view_is_the_first_under_the_warp(rows):
    first, second, warp = (tensor(rows, role).astype(np.float64) for role in ("image", "image_2", "warp"))
    axis = (np.arange(32) + 0.5) / 32
    x, y = np.meshgrid(axis, axis)
    errors, unwarped = [], []
    for row in range(len(rows)):
        a, b, c, d, e, f = warp[row]
        column, line = (np.floor(32 * one).astype(int) for one in (a * x + b * y + c, d * x + e * y + f))
        inside = (column >= 0) & (column < 32) & (line >= 0) & (line < 32)
        errors.append(abs(first[row][line[inside], column[inside]] - second[row][inside]).mean())
        unwarped.append(abs(first[row] - second[row]).mean())
    assert np.mean(errors) < 0.5 * np.mean(unwarped)


def test_presence_lists_shapes_then_colours(rows):
    presence, boxes = tensor(rows, "presence"), tensor(rows, "boxes")
    for row in range(len(rows)):
        assert set(np.flatnonzero(presence[row, :5])) == set(boxes[row, :, 4][boxes[row, :, 4] >= 0].astype(int))


def test_an_instruction_changes_the_picture_only_where_it_can_be_followed(rows):
    changed = (tensor(rows, "edited") != tensor(rows, "image")).any(axis=(1, 2, 3))
    feasible = rows.table["feasible"].to_numpy(zero_copy_only=False)
    assert not changed[~feasible].any()
    assert changed[feasible].mean() > 0.9
    assert 0.5 < feasible.mean() < 0.9


def test_videos_show_their_events(rows):
    tracks, events = tensor(rows, "tracks").astype(np.float64), tensor(rows, "events")
    middle = np.stack([tracks[..., [0, 2]].mean(-1), tracks[..., [1, 3]].mean(-1)], axis=-1)
    for row in range(len(rows)):
        moved = middle[row, 3] - middle[row, 0]
        name = EVENTS[events[row, 0]]
        if name.startswith("moves"):
            axis, sign = {"left": (0, -1), "right": (0, 1), "up": (1, -1), "down": (1, 1)}[name.split()[1]]
            assert moved[axis] * sign > 0.1
    assert np.array_equal(tensor(rows, "video").shape[1:], (8, 32, 32, 3))
    assert (tensor(rows, "video")[:, 0] != tensor(rows, "video")[:, 3]).any(axis=(1, 2, 3)).all()


def test_points_lie_on_their_objects(rows):
    points, owner, boxes = tensor(rows, "points"), tensor(rows, "point_owner"), tensor(rows, "boxes")
    for row in range(len(rows)):
        for number in np.unique(owner[row][owner[row] > 0]):
            x, y, *_ = points[row][owner[row] == number].T
            left, top, right, bottom, _ = boxes[row, number - 1]
            assert x.min() > left - 0.05
            assert x.max() < right + 0.05
            assert y.min() > top - 0.05
            assert y.max() < bottom + 0.05


def test_a_colour_has_one_pitch():
    rows = world(roles=["audio", "colour"], train=200, test=1, objects=(1, 1), shapes=1).train
    power = abs(np.fft.rfft(tensor(rows, "audio")[:, :600] * np.hanning(600), axis=1))
    peaks = power.argmax(axis=1) * 4000 / 600
    for colour in range(5):
        heard = peaks[rows.table["colour"].to_numpy() == colour]
        assert heard == pytest.approx(220 * 2 ** (colour / 5), abs=7)


@pytest.mark.parametrize("size", [8, 48])
def test_other_sizes(size):
    assert tensor(world(roles=["image"], train=3, test=1, size=size).train, "image").shape == (3, size, size, 3)


def test_all_shapes_are_different():
    rows = world(roles=["mask"], label="shape", shapes=len(SHAPES), train=50, test=1, objects=(1, 1), rotation=0).train
    assert len(np.unique(tensor(rows, "mask"))) == len(SHAPES) + 1


def test_pictures_need_more_than_pixels_to_be_told_apart():
    """A linear model on the pixels stays far below what a small network learns (see docs/world.md)."""
    from sklearn.linear_model import RidgeClassifier

    splits = world(roles=["image", "label"], train=1000, test=300)
    fitted = RidgeClassifier(alpha=1e5).fit(tensor(splits.train, "image").reshape(1000, -1), splits.train.labels)
    assert fitted.score(tensor(splits.test, "image").reshape(300, -1), splits.test.labels) < 0.45
