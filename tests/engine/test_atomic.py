import errno
import os
import signal
import subprocess
import sys

import pytest

from warmstart.data.dataset import DataError
from warmstart.engine.atomic import exclusive, write_atomic


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "deep" / "board.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["board.json"]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file_and_says_so_in_one_line(tmp_path, monkeypatch, stage):
    path = write_atomic(tmp_path / "board.json", b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, stage, full)
    with pytest.raises(DataError, match=r"board\.json: cannot be written: No space left.*free some space") as caught:
        write_atomic(path, b"new")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["board.json"]


def test_interrupt_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "board.json", b"old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["board.json"]


def test_a_file_where_the_folder_should_be_gives_one_line(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be written"):
        write_atomic(tmp_path / "out" / "board.json", b"new")


def test_a_folder_is_held_by_one_until_that_one_is_done(tmp_path):
    folder = tmp_path / "deep" / "out"
    with exclusive(folder):
        with pytest.raises(DataError, match="another process is at work there"), exclusive(folder):
            pass
        assert not os.listdir(folder)
    with exclusive(folder):
        pass


def test_a_process_that_is_killed_holds_nothing(tmp_path):
    code = f"""
import os, signal
from warmstart.engine.atomic import exclusive
with exclusive({str(tmp_path)!r}):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    with exclusive(tmp_path):
        pass


def test_a_file_where_the_held_folder_should_be_gives_one_line(tmp_path):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(DataError, match="out: cannot be written"), exclusive(tmp_path / "out"):
        pass
