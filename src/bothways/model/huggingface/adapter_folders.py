"""An adapter written to a folder, in peft's files where peft computes the same from them.

adapter/  adapter_model.safetensors   what was learned
          adapter_config.json         peft's; where it is not there, our names stand in the file above
          head.safetensors            what is new beside the base, heads above all, in our names
          bothways.json               what the model can do with it, which adapter it is, and on which base
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bothways.errors import ModelError
from bothways.files import folder_aside, take_place
from bothways.model.abilities import Abilities
from bothways.model.adapters.config import AdapterConfig, LoraConfig, PrefixConfig, read_adapter
from bothways.model.adapters.placing import is_added, shapes_of
from bothways.model.adapters.prefix import Prefix
from bothways.model.config import ModelConfig
from bothways.model.huggingface.contents import write_json, write_tensors
from bothways.model.huggingface.families import family_for
from bothways.model.huggingface.family import Family
from bothways.model.huggingface.folders import HEADS
from bothways.model.huggingface.peft_lora import BEFORE, to_peft
from bothways.model.huggingface.peft_prompts import PREFIX, THEIRS, prompt_to_peft
from bothways.model.huggingface.weight_names import modules
from bothways.model.model import Model
from bothways.reading import read_json
from bothways.sums import write_sums

ADAPTER_WEIGHTS, PEFT, NOTED = "adapter_model.safetensors", "adapter_config.json", "bothways.json"
_TASKS = {
    "decoder": "CAUSAL_LM",
    "seq2seq": "SEQ_2_SEQ_LM",
    "classifier": "SEQ_CLS",
    "tagger": "TOKEN_CLS",
    "answerer": "QUESTION_ANS",
}
"""{a face, without its "decoder-": peft's task_type}"""


@dataclass(frozen=True, slots=True)
class AdapterNote:
    """What bothways.json says of an adapter.

    expression  as it was written
    base        the folder of its base, or its name on the hub
    sha256      the base's `fingerprint`
    """

    expression: str
    base: str
    sha256: str


def fingerprint(model: Model) -> str:
    """SHA-256 of the weights of a model's body in float32, by name: two bases are one if it is the same."""
    found = hashlib.sha256()
    for name, weight in sorted(model.state_dict().items()):
        if name.startswith(("backbone.", "decoder.")) and not is_added(name):
            found.update(name.encode())
            found.update(weight.detach().float().cpu().contiguous().numpy())
    return found.hexdigest()


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, ours or peft's."""
    return (folder / ADAPTER_WEIGHTS).is_file()


def read_note(folder: Path) -> AdapterNote | None:
    """What bothways.json says of an adapter; None: it is not there, the adapter is of others.

    Raises:
        ModelError: it says something else.
    """
    path = folder / NOTED
    if not path.is_file():
        return None
    found = read_json(path, dict, error=ModelError).get("adapter")
    if not isinstance(found, dict) or not all(isinstance(found.get(key), str) for key in AdapterNote.__slots__):
        raise ModelError(f"{path}: expected an adapter with its expression, base and sha256, got {found!r:.80}")
    return AdapterNote(**{key: found[key] for key in AdapterNote.__slots__})


def save_adapter(
    folder: Path,
    *,
    weights: Mapping[str, Tensor],
    config: ModelConfig,
    note: AdapterNote,
    trained: Abilities,
    beside: Callable[[Path], None],
    peft: bool = True,
) -> Path:
    """Writes an adapter's folder, aside and then renamed.

    Args:
        weights: {our name: weight} of what was learned: the adapter, and what is new beside it.
        config: the base's shape.
        beside: writes into a folder what else belongs there: tokenizer and card.
        peft: whether the base is of that shape for transformers too, so that its modules have the names of it.

    Raises:
        ModelError: a shape that transformers has no family for.
        MachineError: it cannot be written; what was there is as it was.
    """
    adapter = read_adapter(note.expression)
    kept = {name: weight.detach().float().cpu().contiguous() for name, weight in weights.items()}
    new = {name: weight for name, weight in kept.items() if name.startswith(("heads.", "words."))}
    own = {name: kept[name] for name in kept.keys() - new.keys()}
    if isinstance(adapter, PrefixConfig):
        own = {PREFIX: _keys_and_values(own, config, adapter)}
    told = _as_peft(own, new, adapter, config=config, trained=trained) if peft else None
    with folder_aside(folder) as aside:
        if told is not None:
            values, tensors = told
            own = {name if name == THEIRS else f"{BEFORE}{name}": tensor for name, tensor in tensors.items()}
            write_json(aside / PEFT, {"base_model_name_or_path": note.base, "inference_mode": True, **values})
        write_tensors(aside / ADAPTER_WEIGHTS, own)
        if new:
            write_tensors(aside / HEADS, new)
        write_json(aside / NOTED, {**trained.as_json(), "adapter": asdict(note)})
        beside(aside)
        write_sums(aside)
        take_place(aside, folder)
    return folder


@torch.no_grad()
def _keys_and_values(weights: Mapping[str, Tensor], config: ModelConfig, adapter: PrefixConfig) -> Tensor:
    """[P, L * 2 * G * E]: what a prefix is, once the layers that made it are left out."""
    made = Prefix(config, adapter, like=next(iter(weights.values())), generator=torch.Generator())
    made.load_state_dict({name.removeprefix("backbone.prefix."): weight for name, weight in weights.items()})
    return made.flat().contiguous()


def _as_peft(
    own: Mapping[str, Tensor],
    new: Mapping[str, Tensor],
    adapter: AdapterConfig,
    *,
    config: ModelConfig,
    trained: Abilities,
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """adapter_config.json, and the tensors by peft's names but for what stands before them; None where peft would not
    compute the same from them."""
    face, *_ = trained.folders.values()
    family, task = family_for(config, face), {"task_type": _TASKS.get(face.removeprefix("decoder-"))}
    if any(name.startswith("words.") for name in new):
        return None
    if not isinstance(adapter, LoraConfig):
        found = None if new or face != "decoder" else prompt_to_peft(own, adapter, config)
        return found and ({**found[0], **task}, found[1])
    spelt = partial(renamed, family=family, face=face)
    values, tensors = to_peft(own, shapes_of(config, adapter), config=config, family=family, spelt=spelt)
    heads = {} if face.endswith("body") or trained.only_head is None else _head_tensors(new, family)
    heads = {spelt(name): one for name, one in heads.items()}
    kept = sorted({name.rpartition(".")[0] for name in heads})
    told = {"peft_type": "LORA", **task, **values, "bias": "none", "modules_to_save": kept or None}
    return told, tensors | heads


def _head_tensors(new: Mapping[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Those of a head, by the names of transformers' class."""
    found = {}
    for name, weight in new.items():
        module, _, field = name.rpartition(".")
        (theirs,) = modules(family, 0, name.split(".")[1])[module]  # type: ignore[misc]
        found[f"{theirs}.{field}"] = weight
    return found


def renamed(name: str, family: Family, face: str) -> str:
    """A tensor's name in the class of a face: a body saved alone has none before it, one for spans may have another."""
    if face.endswith("body"):
        return name.removeprefix(family.prefix)
    if face.endswith("answerer") and family.prefix_of_span is not None and name.startswith(family.prefix):
        return family.prefix_of_span + name.removeprefix(family.prefix)
    return name
