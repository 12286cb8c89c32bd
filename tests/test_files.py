"""Files and folders are whole or not there, and what a disk refuses is said by its own reason."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from bothways import files
from bothways.errors import MachineError
from bothways.files import delete, folder_aside, take_place, whole_file, write_text, writing

REASONS = {
    errno.ENOSPC: r"No space left on device \(\d+ MiB free\)\. Make room",
    errno.EDQUOT: r"Disk quota exceeded \(\d+ MiB free\)\. Your share of the disk is used up",
    errno.EROFS: r"Read-only file system\. The file system is mounted read-only",
    errno.EACCES: r"Permission denied\. You may not write there",
    errno.ENOENT: r"No such file or directory\. It is gone: moved, deleted",
    errno.EFBIG: r"File too large\. A file may not become so large there \(ulimit",
    errno.EIO: r"Input/output error\. The disk fails",
    errno.ENXIO: r"No such device or address\. Choose another folder",
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", REASONS)
def test_the_disk_has_the_word(number: int, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=f"^{tmp_path} cannot be written: {REASONS[number]}"), writing(tmp_path):
        raise OSError(number, os.strerror(number))


def test_safetensors_says_it_in_its_text(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"No space left on device \(\d+ MiB free\)"), writing(tmp_path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError, match="header"), writing(tmp_path):
        raise SafetensorError("Error while deserializing header: too large")


def test_what_is_read_elsewhere_is_no_fault_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"read\.txt"), whole_file(tmp_path / "out" / "a.txt"):
        (tmp_path / "read.txt").read_text()
    assert names(tmp_path / "out") == []


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.txt"
    write_text(path, "old")
    (path.parent / ".a.txt.partial").write_text("left by one that was killed, and longer than what comes")
    with pytest.raises(KeyboardInterrupt), whole_file(path) as file:
        file.write("new")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and names(path.parent) == ["a.txt"]
    with whole_file(path, "wb") as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new" and names(path.parent) == ["a.txt"]


def test_a_folder_takes_the_place_of_another_only_when_it_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for place in (folder, tmp_path / ".model.partial", tmp_path / ".model.gone"):
        place.mkdir()
        (place / "old").touch()
    with pytest.raises(KeyboardInterrupt), folder_aside(folder) as aside:
        assert names(aside) == []
        (aside / "half").touch()
        raise KeyboardInterrupt
    assert names(folder) == ["old"] and names(tmp_path) == [".model.gone", "model"]
    with folder_aside(folder) as aside:
        (aside / "new").touch()
        take_place(aside, folder)
    assert names(folder) == ["new"] and "model" in names(tmp_path)
    delete(folder)
    assert names(tmp_path) == []


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_link_to_a_folder_elsewhere_is_replaced_and_what_it_leads_to_stays(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    folder, elsewhere = tmp_path / "model", tmp_path / "disk"
    elsewhere.mkdir()
    (elsewhere / "old").touch()
    for target in (elsewhere, tmp_path / "nowhere"):
        folder.symlink_to(target)
        with folder_aside(folder) as aside:
            (aside / "new").touch()
            take_place(aside, folder)
        assert not folder.is_symlink() and names(folder) == ["new"] and names(elsewhere) == ["old"]
        delete(folder)
        assert names(tmp_path) == ["disk"]
    folder.symlink_to(elsewhere)
    delete(folder)
    assert names(elsewhere) == ["old"] and names(tmp_path) == ["disk"]


@pytest.mark.parametrize("at", ["exchange", "rename"])
def test_no_kill_leaves_a_name_without_a_folder(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands there after each call that changes names, which is what a SIGKILL behind it would leave."""
    folder, seen = tmp_path / "model", []
    folder.mkdir()
    exchanged, renamed = files._exchanged, Path.rename

    def look(call: Any) -> Any:
        def called(*names: Path) -> Any:
            result = call(*names)
            seen.append(folder.exists())
            return result

        return called

    can = look(exchanged) if at == "exchange" else lambda one, other: False
    monkeypatch.setattr(files, "_exchanged", can)
    monkeypatch.setattr(Path, "rename", look(renamed))
    with folder_aside(folder) as aside:
        (aside / "new").touch()
        take_place(aside, folder)
    assert names(folder) == ["new"] and names(tmp_path) == ["model"]
    renames = [] if at == "exchange" and exchanged(folder, folder) else [False, True]
    assert seen == [True] * (at == "exchange") + renames


def test_a_folder_that_vanishes_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="It is gone"), folder_aside(tmp_path / "run" / "model") as aside:
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        (aside / "weights").write_bytes(b"")
