"""Files that hold their own hash, and lists of hashes: a flipped bit in what they protect is found, and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bothways.errors import ModelError
from bothways.seals import check_yaml, read_sealed, save_sealed, sealed, sealed_yaml, unsealed
from bothways.sums import SUMS, check_sum, unchanged, write_sum, write_sums


def flips(path: Path) -> Iterator[str]:
    """A bit of every byte of a file flipped, one after another, each of the eight in turn; in the end it is whole."""
    whole = path.read_bytes()
    for place in range(len(whole)):
        bit = place * 5 % 8
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        yield f"bit {bit} of byte {place}"
    path.write_bytes(whole)


def assert_each_is_found(path: Path, read: Callable[[], object]) -> None:
    read()
    for where in flips(path):
        with pytest.raises(ModelError, match=path.name.replace(".", r"\.")):
            read()
            pytest.fail(f"{where} was not found")
    read()


def test_every_byte_of_a_sealed_record(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    record = {"status": "done", "loss": 1e-05, "none": None, "text": "né"}
    path.write_text(sealed(record) + "\n", encoding="utf-8")
    assert unsealed(path) == record
    assert_each_is_found(path, lambda: unsealed(path))


def test_every_byte_of_a_sealed_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(sealed_yaml("seed: 1\nname: né\n"), encoding="utf-8")
    assert_each_is_found(path, lambda: check_yaml(path))


def test_every_byte_of_sealed_tensors(tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    save_sealed(path, {"a": np.arange(3, dtype=np.float32), "b": np.zeros((0, 2))}, of="a model")
    tensors, told = read_sealed(path)
    assert tensors["a"].tolist() == [0, 1, 2] and tensors["b"].shape == (0, 2) and told == {"of": "a model"}
    assert_each_is_found(path, lambda: read_sealed(path))


def test_what_was_never_sealed_is_read(tmp_path: Path) -> None:
    """As an earlier version wrote it; a field called sha256 is no seal."""
    (tmp_path / "a.json").write_text(json.dumps({"adapter": {"sha256": "ab"}}))
    assert unsealed(tmp_path / "a.json") == {"adapter": {"sha256": "ab"}}
    (tmp_path / "a.yaml").write_text("seed: 1\n")
    check_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["", "[]", "5", '"sha256_of_this"', "{", "[" * 100_000, '{"sha256_of_this": null}'])
def test_what_is_no_sealed_record_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match=r"a\.json"):
        unsealed(tmp_path / "a.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "1_Pooling").mkdir(parents=True)
    files = ("config.json", "README.md", "1_Pooling/config.json")
    for number, name in enumerate((*files, "model.safetensors", "chat_template.jinja")):
        (made / name).write_text(f"{number}")
    write_sums(made)
    return made


def opened(folder: Path) -> None:
    with unchanged(folder):
        pass


def test_every_byte_of_a_folder(folder: Path) -> None:
    for name in ("config.json", "1_Pooling/config.json", "model.safetensors", "chat_template.jinja"):
        assert f"  {name}\n" in (folder / SUMS).read_text()
        assert_each_is_found(folder / name, lambda: opened(folder))
    assert_each_is_found(folder / SUMS, lambda: opened(folder))


def test_damage_is_said_before_what_comes_of_it(folder: Path) -> None:
    (folder / "model.safetensors").write_text("other")
    with (
        pytest.raises(ModelError, match=r"model\.safetensors does not match .* delete .*SHA256SUMS"),
        unchanged(folder),
    ):
        raise ModelError("a tensor has another shape")
    with pytest.raises(ModelError, match="another shape"), unchanged(folder, weights=False):
        raise ModelError("a tensor has another shape")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match=r"chat_template\.jinja cannot be read \(No such file"):
        opened(folder)


def test_what_may_change(folder: Path) -> None:
    """The card is there to be edited; what is laid beside a model, and a folder without the list, is its owner's."""
    (folder / "README.md").write_text("mine")
    (folder / "notes.json").write_text("{}")
    opened(folder)
    (folder / "config.json").write_text("mine")
    (folder / SUMS).unlink()
    opened(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b/c", ".."])
def test_only_files_of_the_folder_are_read(name: str, folder: Path) -> None:
    with (folder / SUMS).open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    with pytest.raises(ModelError, match="SHA256SUMS is no list"):
        opened(folder)


def test_every_byte_of_a_single_file(tmp_path: Path) -> None:
    path = tmp_path / "words.vec"
    path.write_text("1 2\ncat 1 2\n")
    check_sum(path)
    write_sum(path)
    assert_each_is_found(path, lambda: check_sum(path))
    assert_each_is_found(tmp_path / "words.vec.sha256", lambda: check_sum(path))


def test_sealed_tensors_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    """The library keeps its metadata in a table whose order changes."""
    told = {name: name for name in "abcdefgh"}
    for number in range(8):
        save_sealed(tmp_path / str(number), {"b": np.arange(3), "a": np.zeros((0, 2), np.float32)}, **told)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert read_sealed(tmp_path / "0")[1] == told
