"""A folder's tokenizer, put together from its own files as transformers' AutoTokenizer (version 5) does it.

The class that tokenizer_config.json names, or that belongs to the model_type of config.json, decides how much of a
tokenizer.json counts: the general class takes all of it, the class of a family only its vocabulary, merges and
template, and builds the rest from the fields of tokenizer_config.json. Then come the added tokens.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, models
from tokenizers import Tokenizer as Engine
from tokenizers.processors import TemplateProcessing

from bothways.errors import DataError
from bothways.reading import read_json
from bothways.text.families import ALIASES, FAMILIES, GENERAL, OF_MODEL, OVERRULED, Fields
from bothways.text.special_tokens import Ids

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MOST_TOKENS = 2**24
_INSTEAD = ("vocab", "merges", "tokenizer_object", "post_processor", "gguf_file", "init_inputs")
"""What transformers would build from instead of the folder's files."""


@dataclass(frozen=True, slots=True)
class Published:
    """engine    the tokenizer with its added tokens and its template; none where no model stands beside it to say so
    fields    of the files beside it, and what their class assumes where they are silent
    ids       with which tokens a model's files say that texts begin and end
    segments  whether transformers says which text of a pair a token belongs to
    """

    engine: Engine
    fields: Fields
    ids: Ids
    segments: bool


MOST_GAPS = 1 << 20
"""Numbers that no token has, below the last of a vocabulary: the library takes memory for each."""


_FILES = ("tokenizer.json", "vocab.txt")
_FOLDERS = ("tokenizer", "encoder", "decoder", "body", "model")  # of shards, and of runs


def tokenizer_file(folder: Path) -> Path | None:
    """The file in a model's folder, a run's or that of shards that has its tokenizer."""
    places = (folder, *(folder / name for name in _FOLDERS))
    return next((file for place in places for name in _FILES if (file := place / name).is_file()), None)


def read_published(path: Path) -> Published:
    """The tokenizer in a tokenizer.json or a vocab.txt, as the files beside it have it.

    Raises:
        DataError: a file that does not read, or a field that asks for what is not implemented; it is named.
    """
    said = _read(path.with_name("tokenizer_config.json"))
    spec = None if path.suffix == ".txt" else _read(path)
    _check_numbers(path, spec or {})
    name = _class_of(path, said, spec)
    fields, added = _with_added(path, said, spec)
    family = FAMILIES.get(name)
    fields = {**(family.defaults if family else {}), **fields, **_chat_templates(path.parent)}
    _refuse(path, fields)
    if family is None:
        engine = Engine.from_file(str(path))
    else:
        if missing := next((key for key in family.needs if fields[key] is None), None):
            raise DataError(f"{path.parent}: {missing} is null; {name} cannot be without it")
        vocabulary = _vocabulary(path, spec, fields, name=name, cased="do_lower_case" in said)
        engine = family.build(vocabulary, spec, fields)
        if spec is not None:
            engine.post_processor = _template(spec)
    _add(engine, fields, added)
    if family is not None:
        if family.resets:
            engine.add_tokens([AddedToken(str(token), special=True) for token in _special(fields)])
        family.finish(engine, fields)
    of_a_model = path.with_name("config.json").is_file()
    if engine.post_processor is None and of_a_model:
        engine.post_processor = TemplateProcessing(single="$A", pair="$A $B:1")
    inputs = fields.get("model_input_names")
    silent = family.segments if family is not None else not of_a_model
    segments = silent if inputs is None else "token_type_ids" in inputs
    return Published(engine, fields, _ids(path.parent), segments)


def _check_numbers(path: Path, spec: Mapping[str, Any]) -> None:
    """
    Raises:
        DataError: a token's number is far beyond how many there are.
    """
    model, added = spec.get("model"), spec.get("added_tokens")
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    numbers = [*vocabulary.values()] if isinstance(vocabulary, Mapping) else []
    numbers += [one.get("id") for one in added if isinstance(one, Mapping)] if isinstance(added, list) else []
    largest = max((one for one in numbers if type(one) is int), default=0)
    if largest > 2 * len(numbers) + MOST_GAPS:
        raise DataError(f"{path}: {len(numbers):,} tokens, and one of them has the number {largest:,}: it is damaged")


def _chat_templates(folder: Path) -> Fields:
    """The field chat_template as files of their own say it, which count instead of tokenizer_config.json:
    chat_template.jinja, and in additional_chat_templates/ others, each named as its file is."""
    more = sorted((folder / "additional_chat_templates").glob("*.jinja"))
    files = {"default": folder / "chat_template.jinja"} | {file.stem: file for file in more}
    found = {name: file.read_text(encoding="utf-8") for name, file in files.items() if file.is_file()}
    return {"chat_template": found["default"] if [*found] == ["default"] else found} if found else {}


def _ids(folder: Path) -> Ids:
    """As generation_config.json says, else config.json.

    Raises:
        DataError: a file that is no JSON object, or an id that is no number.
    """
    files = [(folder / name, _read(folder / name)) for name in ("generation_config.json", "config.json")]
    found: Ids = {}
    for key in ("bos_token_id", "eos_token_id", "decoder_start_token_id"):
        path, value = next(((path, said[key]) for path, said in files if said.get(key) is not None), (None, []))
        ids = value if isinstance(value, list) else [value]
        if any(type(number) is not int or not 0 <= number < MOST_TOKENS for number in ids):
            raise DataError(f"{path}: {key}: expected the number of a token, or a list of numbers, got {value!r:.80}")
        found[key] = tuple(ids)
    return found


def _class_of(path: Path, fields: Fields, spec: Mapping[str, Any] | None) -> str:
    """The class that AutoTokenizer takes: `GENERAL` or one of `FAMILIES`.

    Raises:
        DataError: one that is not implemented, or that reads no vocab.txt.
    """
    config = _read(path.with_name("config.json"))
    named = fields.get("tokenizer_class") or config.get("tokenizer_class")
    kind = str(config.get("model_type"))
    own = OF_MODEL.get(kind, "BertTokenizer" if spec is None else GENERAL)
    overruled = None if "auto_map" in fields else OVERRULED.get(kind)
    name = str(overruled or named or own).removesuffix("Fast")
    name = ALIASES.get(name, name)
    if (
        name == "LlamaTokenizer"
        and spec is not None
        and "ByteLevel" in json.dumps([spec["pre_tokenizer"], spec["decoder"]])
    ):
        name = GENERAL  # that class has no bytes; transformers sees it too
    fitting = [name for name, family in FAMILIES.items() if spec is not None or family.model == "WordPiece"]
    if name not in fitting and (name != GENERAL or spec is None):
        known = ", ".join(fitting if spec is None else [*fitting, "PreTrainedTokenizerFast"])
        also = "" if spec is None else " (the last takes tokenizer.json as it is)"
        raise DataError(f"{path}: expected a tokenizer_class of {known}{also}; got {named or own}")
    return name


def _refuse(path: Path, fields: Fields) -> None:
    """What version 5 of transformers no longer does, or builds from something else than these files."""
    harmless = {"never_split": {str(token) for token in _special(fields)}, "fast_tokenizer_files": {"tokenizer.json"}}
    for key in (*_INSTEAD, *harmless, "do_basic_tokenize"):
        value = fields.get(key)
        if key == "do_basic_tokenize":
            asks = value is False
        else:
            asks = bool(value) and not (isinstance(value, list) and {*value} <= harmless.get(key, set()))
        if asks:
            raise DataError(
                f"{path.with_name('tokenizer_config.json')}: {key} is {str(value)[:60]}, which is not implemented here "
                "(transformers 5 ignores it or reads other files for it): leave it out if the rest is to be loaded."
            )


def _vocabulary(path: Path, spec: Mapping[str, Any] | None, fields: Fields, *, name: str, cased: bool) -> Any:
    """{token: id}, or [(token, score)] of a Unigram model; `cased`: something says whether text is lower-cased."""
    if spec is None:
        return _vocabulary_file(path, str(fields["unk_token"]), cased=cased)
    wanted, kind = FAMILIES[name].model, spec["model"].get("type", FAMILIES[name].model)
    if kind != wanted:
        raise DataError(f"{path}: expected a model of type {wanted}, since tokenizer_class is {name}; got {kind}")
    vocabulary = spec["model"]["vocab"]
    if wanted == "WordPiece" and str(fields["unk_token"]) not in vocabulary:
        raise DataError(f"{path}: expected the unk_token {fields['unk_token']} in its vocabulary; it is not there")
    return vocabulary


def _vocabulary_file(path: Path, unknown: str, *, cased: bool) -> dict[str, int]:
    lines = [line.rstrip("\r") for line in path.read_text(encoding="utf-8").removesuffix("\n").split("\n")]
    vocabulary = models.WordPiece.read_file(str(path))
    if len({*lines}) != len(lines) or unknown not in vocabulary:
        raise DataError(
            f"{path}: expected one WordPiece a line, none twice, the unk_token {unknown} among them. Is it a vocab.txt?"
        )
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    capitals = [token for token in tokens if token != token.lower() and token[0] not in "[<"]
    if capitals and not cased:
        warnings.warn(
            f"{path}: text is lower-cased, as transformers does where no file says otherwise, so {len(capitals)} "
            f"tokens with capital letters ({capitals[0]}, ...) are never met. If the model is cased, write "
            '{"do_lower_case": false} into tokenizer_config.json beside it.',
            stacklevel=2,
        )
    return vocabulary


def _template(spec: Mapping[str, Any]) -> Any:
    """The post-processor of a tokenizer.json, read without its vocabulary."""
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    return Engine.from_str(json.dumps({**spec, "model": empty, "added_tokens": []})).post_processor


def _with_added(path: Path, said: Fields, spec: Mapping[str, Any] | None) -> tuple[Fields, dict[int, AddedToken]]:
    """The fields with their special tokens, and the tokens added to the vocabulary by their numbers.

    What added_tokens_decoder in tokenizer_config.json says counts alone; else special_tokens_map.json, which overrules
    it, then added_tokens.json, then the added tokens of tokenizer.json.
    """
    fields, added = dict(said), {}
    if "added_tokens_decoder" in said:
        added = {int(number): AddedToken(**token) for number, token in said["added_tokens_decoder"].items()}
    else:
        fields |= _read(path.with_name("special_tokens_map.json"))
        special = {str(token) for token in _special(fields)}
        for token, number in _read(path.with_name("added_tokens.json")).items():
            added[number] = AddedToken(token, normalized=token not in special, special=token in special)
        for record in spec["added_tokens"] if spec else ():
            added[record["id"]] = AddedToken(**{key: value for key, value in record.items() if key != "id"})
    by_name = {token.content: token for token in added.values()}
    for key in (key for key in fields if key.endswith("_token")):
        fields[key] = _token(fields[key])
        if key in _NAMED:
            fields[key] = by_name.get(str(fields[key]), fields[key])
    return fields, added


def _special(fields: Fields) -> list[Any]:
    """Its named special tokens in transformers' order, then those that only it has, then those without a name."""
    own = [key for key in fields if key.endswith("_token") and key not in _NAMED]
    named = [fields.get(key) for key in (*_NAMED, *own) if isinstance(fields.get(key), str | dict | AddedToken)]
    more = fields.get("extra_special_tokens") or fields.get("additional_special_tokens") or []
    further = fields.get("model_specific_special_tokens") or {}
    tokens = [*named, *further.values(), *(more.values() if isinstance(more, dict) else more)]
    return [_token(token) for token in tokens]


def _add(engine: Engine, fields: Fields, added: Mapping[int, AddedToken]) -> None:
    """Tokens that the vocabulary lacks get the next numbers, in this order."""
    known = {repr(token) for token in engine.get_added_tokens_decoder().values()}
    new = [added[number] for number in sorted(added) if repr(added[number]) not in known]
    names = {token.content for token in (*engine.get_added_tokens_decoder().values(), *new)}
    special = _special(fields)
    for token in special:
        if str(token) not in names:
            names.add(str(token))
            new.append(token if isinstance(token, AddedToken) else AddedToken(token, special=True))
    named = {str(fields[key]) for key in fields if key.endswith("_token") and fields[key]}
    for token in new:
        token.special = token.special or token.content in named
    engine.add_tokens(new)


def _token(token: Any) -> Any:
    """A record with `content`, as some files have it, is an AddedToken; a name stays one."""
    if not isinstance(token, dict):
        return token
    return AddedToken(**{"special": True} | {key: value for key, value in token.items() if key != "__type"})


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; a file that is not there is an empty one."""
    return read_json(path, dict, error=DataError) if path.is_file() else {}
