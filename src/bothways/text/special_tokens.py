"""Which token of a tokenizer plays which role."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine

from bothways.batch import Vocabulary

Ids = dict[str, tuple[int, ...]]
"""{"bos_token_id": numbers of tokens, "eos_token_id": ..., "decoder_start_token_id": ...}"""
ROLES: dict[str, tuple[str, ...]] = {
    "pad": ("[PAD]", "<pad>", "<|padding|>"),
    "unk": ("[UNK]", "<unk>"),
    "cls": ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>"),
    "sep": ("[SEP]", "</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>"),
    "mask": ("[MASK]", "<mask>"),
}
"""The five roles, and the names they go by in published tokenizers."""

_CONFIGURED = {
    "pad": ("pad_token",),
    "unk": ("unk_token",),
    "cls": ("cls_token", "bos_token"),
    "sep": ("sep_token", "eos_token"),
    "mask": ("mask_token",),
}


def find_roles(engine: Engine, configured: dict[str, Any], ids: Ids, *, mask_takes_space: bool) -> dict[str, str]:
    """{role: token} of those that are there: as tokenizer_config.json names it, else the token with the id that the
    model's files name, else one of a known name.

    The token that opens a text may be the one that ends it. Every other has a role of its own: where one is named for
    several (GPT-2's <|endoftext|>), it is the one that ends a text.
    """
    found: dict[str, str] = {}
    for role in ("sep", "cls", "mask", "unk", "pad"):
        named = [str(configured[key]) for key in _CONFIGURED[role] if configured.get(key)]
        numbered = [engine.id_to_token(number) for key in _CONFIGURED[role] for number in ids.get(f"{key}_id", ())]
        taken = set() if role == "cls" else set(found.values())
        usable = [name for name in (*named, *numbered, *ROLES[role]) if name and name not in taken]
        if there := [name for name in usable if engine.token_to_id(name) is not None]:
            found[role] = there[0]
    marked = {token.content for token in engine.get_added_tokens_decoder().values() if token.special}
    for role, name in found.items():
        if name not in marked:
            engine.add_special_tokens([special_token(role, name, mask_takes_space=mask_takes_space)])
    return {role: found[role] for role in ROLES if role in found}


def complete_roles(engine: Engine, roles: dict[str, str], *, mask_takes_space: bool) -> dict[str, str]:
    """All five, each a token of its own, as rows of text need them: they count documents by [CLS]. What is not there,
    or has two roles, is laid as a new special token behind all tokens."""
    found: dict[str, str] = {}
    for role in ("sep", "cls", "mask", "unk", "pad"):
        has = roles.get(role)
        found[role] = has if has and has not in found.values() else ROLES[role][0]
        if engine.token_to_id(found[role]) is None:
            engine.add_special_tokens([special_token(role, found[role], mask_takes_space=mask_takes_space)])
    return {role: found[role] for role in ROLES}


def special_token(role: str, name: str, *, mask_takes_space: bool) -> AddedToken:
    """Where a word's token carries the space before it, the mask must take that space too (as RoBERTa's does)."""
    return AddedToken(name, special=True, lstrip=role == "mask" and mask_takes_space)


def vocabulary_of(engine: Engine, roles: dict[str, str], ids: Ids) -> Vocabulary:
    """Sizes and roles as the rest of the package wants them; special and [unused] tokens are reserved."""
    tokens = engine.get_vocab(with_added_tokens=True)
    numbers = {role: tokens[roles[role]] if role in roles else -1 for role in ROLES}
    reserved = {number for number, token in engine.get_added_tokens_decoder().items() if token.special}
    reserved |= {number for token, number in tokens.items() if token.startswith("[unused") and token.endswith("]")}
    return Vocabulary(
        size=max(tokens.values()) + 1,
        reserved=frozenset(reserved - set(numbers.values())),
        eos_token_ids=ids.get("eos_token_id", ()),
        decoder_start_token_id=next(iter(ids.get("decoder_start_token_id", ())), -1),
        **numbers,
    )
