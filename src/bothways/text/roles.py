"""Which piece of a tokenizer plays which role."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine

from bothways.batch import Vocabulary

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


def give_roles(engine: Engine, configured: dict[str, Any], *, mask_takes_space: bool) -> dict[str, str]:
    """{role: piece}: what tokenizer_config.json says, else a known name, else a new special piece at the end.

    No piece plays two roles: [CLS] opens a document and [SEP] closes it, and rows count documents by [CLS]. Where one
    is named for two, padding, which no model reads, goes without.
    """
    found: dict[str, str] = {}
    for role in sorted(ROLES, key="pad".__eq__):
        said = [_content(configured.get(key)) for key in _CONFIGURED[role]]
        taken = set(found.values())
        usable = [n for n in [*said, *ROLES[role]] if n and n not in taken and engine.token_to_id(n) is not None]
        found[role] = usable[0] if usable else ROLES[role][0]
    found = {role: found[role] for role in ROLES}
    marked = {token.content for token in engine.get_added_tokens_decoder().values() if token.special}
    for role, name in found.items():
        if name not in marked:
            engine.add_special_tokens([AddedToken(name, special=True, lstrip=role == "mask" and mask_takes_space)])
    return found


def vocabulary_of(engine: Engine, roles: dict[str, str]) -> Vocabulary:
    """Sizes and roles as the rest of the package wants them; special and [unused] pieces are reserved."""
    pieces = engine.get_vocab(with_added_tokens=True)
    numbers = {role: pieces[name] for role, name in roles.items()}
    reserved = {number for number, token in engine.get_added_tokens_decoder().items() if token.special}
    reserved |= {number for piece, number in pieces.items() if piece.startswith("[unused") and piece.endswith("]")}
    return Vocabulary(size=max(pieces.values()) + 1, reserved=frozenset(reserved - set(numbers.values())), **numbers)


def _content(token: Any) -> str | None:
    """A special piece comes as a string, as a record with `content`, or as what that becomes."""
    return token.get("content") if isinstance(token, dict) else None if token is None else str(token)
