"""How a folder of sentence-transformers makes one vector of a text's states: its modules.json, read and written back.

Letters: B texts, T tokens, D width, E width of the vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bothways.errors import ModelError
from bothways.model.huggingface.contents import write_json, write_tensors
from bothways.reading import read_json, read_tensors

MODULES = "modules.json"
_TRANSFORMERS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""What older versions called the settings of a Transformer; the first that says something is taken."""
_PROMPTS, _VECTORS = "config_sentence_transformers.json", "SentenceTransformer"
"""And the model_type there of models that make vectors, which is not named by older versions."""
_LEGACY = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""{switch of an older 1_Pooling/config.json: the mode}, in the order in which their vectors stand side by side."""


def _mean(states: Tensor, real: Tensor) -> Tensor:
    return (states * real).sum(1) / real.sum(1)


def _weighted(states: Tensor, real: Tensor) -> Tensor:
    return _mean(states, real * torch.arange(1, states.shape[1] + 1, device=real.device)[:, None])


def _last(states: Tensor, real: Tensor) -> Tensor:
    return states[torch.arange(len(states)), real[..., 0].sum(1).long() - 1]


POOLS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": lambda states, real: states[:, 0],
    "max": lambda states, real: states.masked_fill(real == 0, -torch.inf).amax(1),
    "mean": _mean,
    "mean_sqrt_len_tokens": lambda states, real: (states * real).sum(1) / real.sum(1).sqrt(),
    "weightedmean": _weighted,
    "lasttoken": _last,
}
"""{pooling mode: (states [B, T, D], 1.0 where a token is [B, T, 1]) -> [B, D]}; tokens stand at the left."""


@dataclass(frozen=True, slots=True)
class SentenceModules:
    """pooling  modes, whose vectors stand side by side
    after    what is done to that vector, module after module
    prompt   stands before every text
    length   tokens of a text at most, where the folder says
    width    numbers of the vector that are kept, where it says
    lower    text is lower-cased, whatever the tokenizer does
    files    {path: content} to write back: JSON, or a module's weights
    other    the kind of model that makes something else of a text (SparseEncoder); empty: it makes a vector by pooling
    """

    pooling: tuple[str, ...] = ("mean",)
    after: tuple[Callable[[Tensor], Tensor], ...] = ()
    prompt: str = ""
    length: int | None = None
    width: int | None = None
    lower: bool = False
    files: Mapping[str, Any] = field(default_factory=dict)
    other: str = ""

    def pool(self, states: Tensor, real: Tensor) -> Tensor:
        """States [B, T, D] and which of them are tokens, bool [B, T] -> [B, D times the number of modes], float32."""
        there = real[..., None].float()
        return torch.cat([POOLS[mode](states.float(), there) for mode in self.pooling], dim=-1)

    def finish(self, vectors: Tensor) -> Tensor:
        """[B, D times the number of modes] -> [B, E]."""
        for module in self.after:
            vectors = module(vectors)
        return vectors[..., : self.width]

    def write(self, folder: Path, *, width: int) -> None:
        """The files again; `width` of the states."""
        for name, content in (self.files or _mean_files(width)).items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            if name.endswith(".json"):
                write_json(path, content)
            else:
                write_tensors(path, content)


def read_sentence_modules(folder: Path) -> SentenceModules | None:
    """None: the folder is no sentence-transformers model that makes vectors; a CrossEncoder is read as a classifier.

    Raises:
        ModelError: a module or a setting that is not implemented; it is named.
    """
    if not (folder / MODULES).is_file():
        return None
    listed = read_json(folder / MODULES, list, error=ModelError)
    if not all(isinstance(module, dict) and {"type", "path"} <= module.keys() for module in listed):
        raise ModelError(f"{folder / MODULES}: expected modules with type and path, got {listed!r:.200}")
    if (kind := _json(folder / _PROMPTS).get("model_type", _VECTORS)) != _VECTORS:
        # its body can be asked all else
        return None if kind == "CrossEncoder" else SentenceModules(other=str(kind), files=_as_they_are(folder, listed))
    files: dict[str, Any] = {MODULES: listed}
    after: list[Callable[[Tensor], Tensor]] = []
    pooling: tuple[str, ...] = ()
    for number, module in enumerate(listed):
        name, path = str(module["type"]).rsplit(".", 1)[-1], str(module["path"])
        place = folder / path
        config = _json(place / "config.json") if number else {}
        if number:
            files |= {f"{path}/config.json": config} if (place / "config.json").is_file() else {}
        wanted = (("Transformer",), ("Pooling",), ("Dense", "Normalize"))[min(number, 2)]
        if name not in wanted or path != (Path(path).name if number else ""):
            raise ModelError(
                f"{folder / MODULES}: module {number} is {module['type']}{f' in {path}' if path else ''}, which is not "
                "implemented; expected a Transformer in the folder itself, then Pooling, then Dense and Normalize"
            )
        if name == "Pooling":
            pooling = _modes(place / "config.json", config)
        elif name == "Dense":
            dense = _Dense(place, config)
            after.append(dense)
            files[f"{path}/model.safetensors"] = dense.state_dict()
        elif name == "Normalize":
            _only(place / "config.json", config, _OF_SENTENCES)
            after.append(_normalize)
    if not pooling:
        raise ModelError(f"{folder / MODULES}: expected a Transformer and then Pooling, got {len(listed)} modules")
    own = next((name for name in _TRANSFORMERS if _json(folder / name)), _TRANSFORMERS[0])
    body, settings = _json(folder / own), _json(folder / _PROMPTS)
    _only(folder / own, body, _AS_USUAL, free=("max_seq_length", "do_lower_case", "unpad_inputs"))
    for path, values, key in ((own, body, "max_seq_length"), (_PROMPTS, settings, "truncate_dim")):
        if values.get(key) is not None and (type(values[key]) is not int or values[key] < 1):
            raise ModelError(f"{folder / path}: {key}: expected a whole number above 0, got {values[key]!r}")
    if not isinstance(settings.get("prompts") or {}, dict):
        raise ModelError(f"{folder / _PROMPTS}: prompts: expected an object, got {settings['prompts']!r:.80}")
    prompt = (settings.get("prompts") or {}).get(str(settings.get("default_prompt_name") or ""), "")
    if not isinstance(prompt, str):
        raise ModelError(f"{folder / _PROMPTS}: prompts: expected a text, got {prompt!r:.80}")
    if prompt and not _json(folder / str(listed[1]["path"]) / "config.json").get("include_prompt", True):
        raise ModelError(f"{folder}: include_prompt is false beside a prompt for every text; that is not implemented")
    files |= {own: body} if body else {}
    files |= {_PROMPTS: settings} if settings else {}
    width, length, lower = settings.get("truncate_dim"), body.get("max_seq_length"), bool(body.get("do_lower_case"))
    return SentenceModules(pooling, tuple(after), prompt, length, width, lower, files)


def _as_they_are(folder: Path, listed: list[Any]) -> dict[str, Any]:
    """Everything that a folder holds for its modules, to be written back."""
    paths = [str(module["path"]) for module in listed]
    places = [path for path in paths if path == Path(path).name and path not in ("", "..")]
    found: dict[str, Any] = {MODULES: listed}
    for name in (_PROMPTS, *_TRANSFORMERS, *(f"{place}/config.json" for place in places)):
        found |= {name: _json(folder / name)} if (folder / name).is_file() else {}
    for name in (f"{place}/model.safetensors" for place in places):
        found |= {name: read_tensors(folder / name)} if (folder / name).is_file() else {}
    return found


_OF_SENTENCES = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
_AS_USUAL: dict[str, Any] = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}
"""{setting: the only value that is implemented}; null and nothing are always."""


def _only(path: Path, config: Mapping[str, Any], usual: Mapping[str, Any], *, free: tuple[str, ...] = ()) -> None:
    for key, value in config.items():
        if key not in free and value and value != usual.get(key):
            raise ModelError(f"{path}: {key} is {value!r}, which is not implemented")


def _modes(path: Path, config: Mapping[str, Any]) -> tuple[str, ...]:
    free = ("pooling_mode", "include_prompt", "embedding_dimension", "word_embedding_dimension", *_LEGACY)
    _only(path, config, {}, free=free)
    named = config.get("pooling_mode") or [mode for key, mode in _LEGACY.items() if config.get(key)] or ["mean"]
    modes = tuple(named) if isinstance(named, list) else (named,)
    if unknown := next((mode for mode in modes if mode not in [*POOLS]), None):
        raise ModelError(f"{path}: pooling_mode is {unknown!r}; expected {', '.join(POOLS)}")
    return modes


def _normalize(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1)


def _activation(name: str, path: Path) -> nn.Module:
    module, _, kind = name.rpartition(".")
    made: Any = (
        getattr(nn, kind, None) if module in ("torch.nn.modules.activation", "torch.nn.modules.linear") else None
    )
    try:
        found: nn.Module = made()
    except TypeError:  # it is none, or made with numbers
        raise ModelError(
            f"{path}: activation_function is {name}; expected one of torch.nn.modules.activation"
        ) from None
    return found


class _Dense(nn.Module):
    """A linear map and what follows it; with use_residual, the input is added."""

    def __init__(self, place: Path, config: Mapping[str, Any]) -> None:
        super().__init__()
        path = place / "config.json"
        free = ("in_features", "out_features", "bias", "activation_function", "use_residual")
        _only(path, config, _OF_SENTENCES, free=free)
        if not (place / "model.safetensors").is_file():
            raise ModelError(
                f"{place}: expected the weights in model.safetensors, found none. A pytorch_model.bin can run code "
                "when it is opened and is never opened here: load it with sentence-transformers and save it again."
            )
        tensors = read_tensors(place / "model.safetensors")
        added, weight = config.get("use_residual", False), tensors.get("linear.weight")
        asked, shape = (
            [config.get("out_features"), config.get("in_features")],
            [] if weight is None else [*weight.shape],
        )
        if shape != asked:
            raise ModelError(
                f"{path}: out_features and in_features are {asked!r:.80}; linear.weight in model.safetensors has shape "
                f"{shape}"
            )
        out, width = shape
        self.linear = nn.Linear(width, out, bias=config.get("bias", True))
        self.residual = nn.Linear(width, out, bias=False) if added and width != out else None
        self._added = added
        name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
        self._activation = _activation(name, path)
        own = self.state_dict()
        if odd := sorted(
            name
            for name in own | tensors
            if name not in own or name not in tensors or own[name].shape != tensors[name].shape
        ):
            raise ModelError(f"{place}: {odd[0]} is not the same in config.json and model.safetensors")
        self.load_state_dict(tensors)
        self.requires_grad_(requires_grad=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, D] -> [B, E]."""
        found: Tensor = self._activation(self.linear(vectors))
        if not self._added:
            return found
        return found + (vectors if self.residual is None else self.residual(vectors))


def _json(path: Path) -> dict[str, Any]:
    return read_json(path, dict, error=ModelError) if path.is_file() else {}


def _mean_files(width: int) -> dict[str, Any]:
    """The mean of the states of all tokens, specials included; in the spelling that all its versions read."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    return {
        MODULES: [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
            for i, (path, name) in enumerate(modules)
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": width,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        _PROMPTS: {"similarity_fn_name": "cosine"},
    }
