"""The store on disk."""

import os
import shutil
import time

import numpy as np
import pytest

from warmstart.data.cache import cache_folder, cache_limit
from warmstart.data.dataset import DataError
from warmstart.engine import store as module
from warmstart.engine.store import Store, spill

KEYS = np.array([b"one", b"two", b"three"], dtype="S16")
COUNTS = np.array([2, 1, 3])


def write(store: Store):
    rows = [(2, np.full((3, 4), 2.0)), (0, np.full((2, 4), 0.5)), (1, np.ones((1, 4)))]
    return store.write(KEYS, COUNTS, (4,), iter(rows))


def test_what_is_written_is_read_by_row(tmp_path):
    write(Store("key", tmp_path))
    (segment,) = Store("key", tmp_path).segments()
    assert segment.keys.tolist() == KEYS.tolist()
    assert segment.starts.tolist() == [0, 2, 3, 6]
    assert segment.data.dtype == np.float32
    assert segment.data[:, 0].tolist() == [0.5, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_stores_of_different_keys_know_nothing_of_each_other(tmp_path):
    write(Store("key", tmp_path))
    assert Store("other", tmp_path).segments() == []


@pytest.mark.parametrize("name", ["data.npy", "keys.npy", "counts.npy", "checksum"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_any_damage_removes_the_segment(tmp_path, name, damage):
    path = write(Store("key", tmp_path)).path / name
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        content[-1] ^= 1
        path.write_bytes(content if damage == "flip" else content[:-3])
    assert Store("key", tmp_path).segments() == []
    assert not path.parent.exists()


def test_damage_after_the_first_use_is_found(tmp_path):
    path = write(Store("key", tmp_path)).path / "data.npy"
    assert len(Store("key", tmp_path).segments()) == 1
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert Store("key", tmp_path).segments() == []


def test_an_unchanged_segment_is_read_and_checked_once_in_a_process(tmp_path, monkeypatch):
    write(Store("key", tmp_path))
    checked, checksum = [], module._checksum
    monkeypatch.setattr(module, "_checksum", lambda path: checked.append(path) or checksum(path))
    for _ in range(3):
        assert len(Store("key", tmp_path).segments()) == 1
    assert len(checked) == 1


def test_a_failed_write_leaves_nothing(tmp_path):
    store = Store("key", tmp_path)

    def failing():
        yield 0, np.zeros((2, 4))
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError, match="the model failed"):
        store.write(KEYS, COUNTS, (4,), failing())
    assert list(store.folder.iterdir()) == []


def test_what_killed_runs_left_is_removed_after_a_day(tmp_path):
    store = Store("key", tmp_path)
    old, young = store.folder / "tmp-old", store.folder / "tmp-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    write(store)
    assert not old.exists()
    assert young.exists()


def test_a_removed_segment_stays_readable_for_who_has_it(tmp_path):
    segment = write(Store("key", tmp_path))
    data = segment.data
    shutil.rmtree(segment.path)
    assert data.sum() == 2 * 4 * 0.5 + 4 + 3 * 4 * 2


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    store = Store("key", tmp_path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_rows", full)
    with pytest.raises(DataError, match="No space left on device; free some space, or name another folder in WARMS"):
        write(store)
    assert list(store.folder.iterdir()) == []


def test_spilled_rows_are_equal_and_leave_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path / "cache"))
    values = [(1, np.full((1, 3), 7.0)), (0, np.zeros((2, 3)))]
    data = spill(np.array([2, 1]), (3,), iter(values))
    assert data.tolist() == [[0.0] * 3, [0.0] * 3, [7.0] * 3]
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("WARMSTART_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("WARMSTART_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "warmstart")


def test_what_was_not_used_for_longest_goes_where_the_cache_grew_too_large(tmp_path, monkeypatch):
    old, used, unread = (write(Store(key, tmp_path)).path for key in ("old", "used", "unread"))
    long_ago = time.time() - 10 * 3600
    for path, hours in ((old, 3), (used, 2), (unread, 1)):
        os.utime(path, (long_ago, long_ago - 3600 * hours))
    Store("used", tmp_path).segments()
    size = sum(file.stat().st_size for file in old.iterdir())
    monkeypatch.setenv("WARMSTART_CACHE_GB", str(2.5 * size / 1e9))
    new = write(Store("new", tmp_path)).path
    assert [path.exists() for path in (old, used, unread, new)] == [False, True, False, True]


def test_a_limit_that_is_no_number_is_one_line(monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE_GB", "plenty")
    with pytest.raises(DataError, match="WARMSTART_CACHE_GB is 'plenty': write a number"):
        cache_limit()


def test_what_was_used_within_the_hour_stays_however_large_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("WARMSTART_CACHE_GB", "1e-9")
    paths = [write(Store(key, tmp_path)).path for key in ("one", "two")]
    assert all(path.exists() for path in paths)
