"""What a model's files hold: its config.json and its weights, of a Hugging Face folder or of a GGUF file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from bothways.errors import ModelError
from bothways.gguf import SUFFIX, read_gguf
from bothways.model.huggingface.gguf import tensors_of, values_of
from bothways.reading import read_json, read_tensors

WEIGHTS = "model.safetensors"


def holds_model(place: Path) -> bool:
    """Whether it is a Hugging Face folder or a GGUF file."""
    return place.is_file() if place.suffix == SUFFIX else (place / "config.json").is_file()


def read_values(place: Path) -> dict[str, Any]:
    """The config.json in a folder, or what a GGUF file says instead of one.

    Raises:
        ModelError: there is none, it does not read, or a GGUF file of a kind that is not ours.
    """
    return values_of(read_gguf(place)) if place.suffix == SUFFIX else read_object(place / "config.json")


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder.

    Raises:
        ModelError: there is none, or it does not read.
    """
    if not path.is_file():
        raise ModelError(f"{path.parent} holds no model: expected a Hugging Face folder with {path.name}")
    return read_json(path, dict, error=ModelError)


def read_weights(place: Path) -> dict[str, Tensor]:
    """{transformers' name: tensor}, of one file, or of the several that an index names; of a GGUF file in float32.

    Raises:
        ModelError: there are none, they are a pickle, or damaged.
    """
    if place.suffix == SUFFIX:
        file = read_gguf(place)
        return tensors_of(file, values_of(file))
    index = place / f"{WEIGHTS}.index.json"
    if not (place / WEIGHTS).is_file() and index.is_file():
        files = read_object(index).get("weight_map")
        if not isinstance(files, dict) or not all(map(_is_part, files.values())):
            raise ModelError(
                f"{index}: expected weight_map, the file of every tensor, each a name.safetensors beside it"
            )
        parts = [read_file(place / file) for file in sorted({*files.values()})]
        return {name: tensor for part in parts for name, tensor in part.items()}
    path = place / WEIGHTS
    if not path.is_file():
        others = sorted(file.name for file in place.iterdir() if file.suffix in {".bin", ".pt", ".pth", ".ckpt", ".h5"})
        if others:
            raise ModelError(
                f"{place} holds its weights as {others[0]}, which can run code when it is opened and is never opened "
                f"here. If you trust it, load it with transformers and save_pretrained it: that writes {WEIGHTS}."
            )
        raise ModelError(
            f"{place}: expected the weights in {WEIGHTS}, or in files that {index.name} names; found none. A model of "
            "the hub that has only a pytorch_model.bin, which can run code when it is opened, is not fetched. If you "
            f"trust it, load it with transformers and save_pretrained it: that writes {WEIGHTS}."
        )
    return read_file(path)


def _is_part(name: Any) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")


def read_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ModelError: it is damaged.
    """
    return read_tensors(path, then="the file is damaged. Save the model again.")


def write_json(path: Path, content: Any) -> None:
    """A JSON file as transformers writes it."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file that transformers reads."""
    save_file(dict(tensors), path, metadata={"format": "pt"})
    path.chmod(0o644)  # safetensors leaves it readable to its owner only
