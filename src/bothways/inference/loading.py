"""Opening a run, or a model of others, as a LanguageModel."""

from __future__ import annotations

from pathlib import Path

import torch

from bothways.arguments import checked
from bothways.errors import ModelError
from bothways.gguf import SUFFIX
from bothways.inference.engine import Engine, checked_dtype
from bothways.inference.language_model import LanguageModel
from bothways.machine import device_of
from bothways.model import local, read_saved, read_sentence_modules
from bothways.text import Tokenizer

FACES = ("encoder", "decoder", "body", "model")


@checked
def load(
    model: str | Path, *, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> LanguageModel:
    """Opens a run, or a published model of a family that `bothways models` lists.

    Args:
        model: a run with `encoder/`, `decoder/` or `body/` in it, a Hugging Face folder, a name of its
            hub, or a GGUF file of llama.cpp, which is dequantised.
        device: where to compute, "cpu", "cuda", "cuda:1"; a GPU when there is one.
        dtype: what to compute in; torch.bfloat16 is faster where the processor has instructions for it.

    Raises:
        ModelError: nothing there, or it cannot be read.
        MachineError: there is no such device.
        UsageError: what is no device, or no kind of numbers to compute in.
    """
    place, numbers = device_of(device), checked_dtype(dtype)
    found = folder_of(local(model))
    saved = read_saved(found)
    tokenizer = Tokenizer.load(found)
    if tokenizer.vocabulary.size > saved.model.config.vocabulary:
        raise ModelError(
            f"{found}: the tokenizer has {tokenizer.vocabulary.size} tokens, the model "
            f"{saved.model.config.vocabulary}: they do not belong together"
        )
    body = saved.model.for_inference(device=place, dtype=numbers, generates=saved.trained.generates)
    return LanguageModel(Engine(body, tokenizer, saved.trained, read_sentence_modules(found)))


def folder_of(folder: Path) -> Path:
    """The folder of a run, or one that is no run, in which the model is; a GGUF file is one by itself.

    Raises:
        ModelError: there is none.
    """
    if folder.suffix == SUFFIX and not folder.is_dir():
        return folder
    found = next((folder / face for face in FACES if (folder / face / "config.json").is_file()), folder)
    if not (found / "config.json").is_file():
        raise ModelError(
            f"{folder} holds no model: expected a run with {', '.join(f'{face}/' for face in FACES)} in it, or a "
            "Hugging Face folder with config.json. A run has them once it is finished."
        )
    return found
