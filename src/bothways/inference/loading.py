"""Opening a run, or a model of others, as a LanguageModel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bothways.arguments import checked, shown
from bothways.errors import ModelError, UsageError
from bothways.gguf import SUFFIX
from bothways.inference.engine import Engine, checked_dtype
from bothways.inference.language_model import LanguageModel
from bothways.inference.saving import FACES
from bothways.machine import device_of
from bothways.model import Abilities, SentenceModules, local, read_abilities, read_saved, read_sentence_modules
from bothways.model.huggingface.adapter_folders import NOTED, is_adapter
from bothways.model.huggingface.adapter_reading import base_of, read_adapted, with_adapter
from bothways.model.huggingface.folders import Saved
from bothways.reading import read_json
from bothways.terminal import command
from bothways.text import Tokenizer


@checked
def load(
    model: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    adapters: Mapping[str, str | Path] | None = None,
) -> LanguageModel:
    """Opens a run, or a published model of a family that `bothways models` lists.

    Args:
        model: a run with `encoder/`, `decoder/` or `body/` in it, a Hugging Face folder, a name of its
            hub, or a GGUF file of llama.cpp, which is dequantised.
        device: where to compute, "cpu", "cuda", "cuda:1"; a GPU when there is one.
        adapters: {name: the folder of an adapter, or a run that has one}, to be chosen per request; they share all of
            the model's other weights.
        dtype: what to compute in; torch.bfloat16 where the machine is faster in it.

    Raises:
        ModelError: nothing there, or it cannot be read.
        MachineError: there is no such device.
        UsageError: what is no device, no kind of numbers to compute in, or no adapters by their names.
    """
    place, numbers = device_of(device), checked_dtype(dtype)
    named: Any = {} if adapters is None else adapters
    if not isinstance(named, Mapping) or not all(
        isinstance(name, str) and isinstance(one, str | Path) for name, one in named.items()
    ):
        raise UsageError(f"adapters: expected {{name: folder}}, got {shown(adapters)}")
    saved, tokenizer, found = read_model(local(model))
    folders = {name: folder_of_adapter(local(one)) for name, one in named.items()}
    beside = {name: _adapter(saved, tokenizer, name, folder) for name, folder in folders.items()}

    # The base and its adapters share a table: it is laid out for the one that generates.
    generates = any(one.trained.generates for one in (saved, *(one for one, _ in beside.values())))

    def engine(one: Saved, own: Tokenizer, modules: SentenceModules | None) -> Engine:
        body = one.model.for_inference(device=place, dtype=numbers, generates=generates)
        return Engine(body, own, one.trained, modules, name=str(found))

    made = engine(saved, tokenizer, _sentence_modules(found, saved))
    adapted = {name: engine(*one, _sentence_modules(folders[name], one[0], base=found)) for name, one in beside.items()}
    return LanguageModel(replace(made, adapters=adapted))


def _sentence_modules(folder: Path, saved: Saved, *, base: Path | None = None) -> SentenceModules | None:
    """Those of a model's folder. Of an adapter that was taught a task here there are none, as of a whole model: vectors
    are means of the states. Of another they are its own, or else those of its base."""
    if not is_adapter(folder):
        return read_sentence_modules(folder)
    if (folder / NOTED).is_file() and saved.trained.heads:
        return None
    return read_sentence_modules(folder) or read_sentence_modules(base or base_of(folder))


def read_model(folder: Path) -> tuple[Saved, Tokenizer, Path]:
    """The model of a run, or of a folder that is no run, its tokenizer, and the folder that it is in; where the folder
    holds an adapter, the model is its base with the adapter.

    Raises:
        ModelError: nothing there, or it cannot be read.
    """
    if is_adapter(adapter := folder_of_adapter(folder)):
        kept = (adapter / "tokenizer.json").is_file()
        tokenizer = Tokenizer.load(adapter if kept else base_of(adapter))
        saved = read_adapted(adapter, vocabulary=tokenizer.vocabulary.size)
        _check_vocabulary(tokenizer, saved, str(adapter), adapter=adapter if kept else None)
        return saved, _prompted(tokenizer, saved), adapter
    found = folder_of(folder)
    saved, tokenizer = read_saved(found), Tokenizer.load(found)
    _check_vocabulary(tokenizer, saved, str(found))
    return saved, tokenizer, found


def _check_vocabulary(tokenizer: Tokenizer, saved: Saved, called: str, *, adapter: Path | None = None) -> None:
    """`adapter`: the folder of the adapter that brought the tokenizer."""
    if tokenizer.vocabulary.size > saved.model.config.vocabulary:
        way = f"; delete {adapter / 'tokenizer.json'}, and the base's is used" if adapter else ""
        raise ModelError(
            f"{called}: the tokenizer has {tokenizer.vocabulary.size} tokens, the model "
            f"{saved.model.config.vocabulary}: they do not belong together{way}"
        )


def _adapter(base: Saved, tokenizer: Tokenizer, name: str, folder: Path) -> tuple[Saved, Tokenizer]:
    called = f"the adapter {name!r} ({folder})"
    saved = with_adapter(base, folder, vocabulary=tokenizer.vocabulary.size, called=called)
    kept = (folder / "tokenizer.json").is_file()
    tokenizer = Tokenizer.load(folder) if kept else tokenizer
    # An adapter of others may have brought a [PAD] that its base has not.
    _check_vocabulary(tokenizer, saved, called, adapter=folder if kept else None)
    return saved, _prompted(tokenizer, saved)


def _prompted(tokenizer: Tokenizer, saved: Saved) -> Tokenizer:
    prompt = saved.model.backbone.embeddings.prompt
    return tokenizer if prompt is None else tokenizer.behind_prompt(len(prompt))


def abilities_of(run: Path) -> tuple[Abilities, Path]:
    """What the model of a run, or its adapter, was taught, without its weights; and the folder that it is in.

    Raises:
        ModelError: there is none.
    """
    if is_adapter(adapter := folder_of_adapter(run)) and (adapter / NOTED).is_file():
        return Abilities.from_json(read_json(adapter / NOTED, dict, error=ModelError)), adapter
    folder = folder_of(run)
    return read_abilities(folder), folder


def folder_of_adapter(folder: Path) -> Path:
    """The folder of a run's adapter, or one that is no run."""
    return folder / "adapter" if is_adapter(folder / "adapter") else folder


def folder_of(folder: Path) -> Path:
    """The folder of a run, or one that is no run, in which the model is; a GGUF file is one by itself.

    Raises:
        ModelError: there is none.
    """
    if folder.suffix == SUFFIX and not folder.is_dir():
        return folder
    if is_adapter(adapter := folder_of_adapter(folder)):
        raise ModelError(
            f"{adapter} holds an adapter, not a whole model, which is expected here: merge it first, "
            f"{command('merge', folder, '--out', 'FOLDER')}"
        )
    found = next((folder / face for face in FACES if (folder / face / "config.json").is_file()), folder)
    if not (found / "config.json").is_file():
        raise ModelError(
            f"{folder} holds no model: expected a run with {', '.join(f'{face}/' for face in FACES)} in it, or a "
            "Hugging Face folder with config.json. A run has them once it is finished."
        )
    return found
