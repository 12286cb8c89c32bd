"""Broken files on purpose: configurations, JSON, strings of every script; the same for a seed and a number."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hypothesis import strategies as st

from bothways.cli import main
from bothways.errors import UsageError
from bothways.text import Tokenizer

ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**9, 10**30, 1.5, float("nan"), float("inf"), "", "x", "a\nb\t\x1b[31m", "\u202e汉😀"),
    *([], {}, ["x"], [["encoder"]], {"x": 5}, [1]),
)
"""What stands where another kind of value is expected."""
RAW: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]\n",
    "an object without a key": b"{}\n",
    "null": b"null\n",
    "nested lists": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "half a character": b'{"a": "\\ud800"}\n',
    "another encoding": b"\xff\xfe{\x00}\x00",
    "a byte of none": b'{"a": "\xff"}\n',
    "zeros": b"\0" * 64,
    "a number without end": b"9" * 5_000,
    "a pickle": b"\x80\x04cposix\nsystem\n(S'touch executed'\ntR.",
}
"""{what it is: the whole of a file}"""
CONFIGS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "prepare": (
        ("prepare", "nowhere.txt", "--out", "out"),
        {"documents": "lines", "vocabulary": 512, "fields": ["text"], "validation": 0.1, "skip_bad": True},
    ),
    "pretrain": (
        ("pretrain",),
        {
            "shards": "nowhere",
            "out": "out",
            "objective": "hybrid",
            "size": "tiny",
            "model": {"layers": 2, "dropout": 0.1, "shape": "modern", "norm": {"kind": "rms"}},
            "training": {
                "budget": {"steps": 3},
                "length": 64,
                "seed": 2,
                "precision": "fp32",
                "schedule": {"warmup_steps": 10},
                "optimiser": {"learning_rate": 0.001},
            },
        },
    ),
    "finetune": (
        ("finetune",),
        {
            "model": "nowhere",
            "train": "nowhere.jsonl",
            "task": "classify",
            "out": "out",
            "epochs": 2,
            "seed": 3,
            "learning_rate": 1e-4,
            "columns": {"text": "review"},
            "adapter": "lora",
        },
    ),
    "several": (
        ("finetune",),
        {
            "model": "nowhere",
            "out": "out",
            "size_exponent": 0.5,
            "tasks": [
                {"name": "a", "task": "classify", "train": "a.jsonl"},
                {"name": "b", "task": "tag", "train": "b.jsonl", "weight": 2.0},
            ],
        },
    ),
    "search": (
        ("search",),
        {
            "shards": "nowhere",
            "out": "out",
            "objective": "mlm",
            "hours": 0.5,
            "training": {"length": 64, "step_tokens": 1024},
            "space": [{"training.optimiser.name": ["muon", "adamw"], "rate": [0.5, 1.0]}, {"model.layers": [2, 3]}],
        },
    ),
    "compare": (
        ("compare",),
        {
            "shards": "nowhere",
            "out": "out",
            "objectives": ["causal", "mlm"],
            "seeds": 2,
            "size": "tiny",
            "budget": "1e12flops",
            "search": {"factors": [1.0, 2.0], "share": 0.2},
            "probes": {"a": ["a.jsonl", "b.jsonl"]},
        },
    ),
    "plan": (("plan",), {"shards": "nowhere", "size": "tiny"}),
    "word-vectors": (
        ("word-vectors", "nowhere", "--out", "w.vec"),
        {"dim": 50, "window": 5, "epochs": 2, "min_count": 5, "seed": 1, "lowercase": True},
    ),
    "pet": (
        ("pet",),
        {
            "model": "nowhere",
            "train": "nowhere.jsonl",
            "unlabelled": "more.jsonl",
            "out": "out",
            "pattern": ["{text} It was [MASK]."],
            "verbaliser": {"good": "great", "bad": "terrible"},
        },
    ),
    "prompt": (
        ("prompt", "nowhere", "nowhere.jsonl"),
        {"pattern": "{text} It was [MASK].", "verbaliser": {"good": ["great"]}, "shots": 2, "seed": 1},
    ),
    "generate": (("generate", "nowhere", "a b"), {"max_new_tokens": 3, "temperature": 0.5, "top_k": 5, "seed": 1}),
}
"""{kind: (command, settings that are right)}; what they name is not there, so that nothing is trained."""

_SPACES = "\0\x01\t\r\n\x85\u2028\ufeff\ufffd\U0010ffff\u202e\u200d"
_SCRIPTS = f"aZ é\u0301中文字ひカ한ក្ខअब्द שלום مرحبا 👩👧🇨🇳😀{_SPACES}[CLS][MASK]##"
STRINGS = st.one_of(
    st.text(st.characters(), max_size=60),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.text(_SCRIPTS, max_size=60),
    st.text([*_SCRIPTS, "\ud800", "\udfff"], max_size=30),
)
"""Text of every script, NUL, what turns the direction, and lone surrogates."""


class Mutation(NamedTuple):
    """The bytes of a configuration; the dotted key that was changed, where it was one; what it was changed to."""

    content: bytes
    key: str = ""
    value: Any = None


def mutation(values: dict[str, Any], rng: random.Random) -> Mutation:
    """One of a configuration: half of them bytes, the others values and keys."""
    if rng.random() < 0.5:
        return Mutation(_bytes(yaml.safe_dump(values, sort_keys=False).encode(), rng))
    place = rng.choice([*places(values)])
    if rng.random() < 0.3 and isinstance(place[-1], str):
        made, key = _renamed(values, place), (*place[:-1], f"{place[-1]}q")
        return Mutation(yaml.safe_dump(made).encode(), ".".join(map(str, key)))
    value = rng.choice(ODD)
    return Mutation(yaml.safe_dump(changed(values, place, value)).encode(), ".".join(map(str, place)), value)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    found = bytearray(content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(found))
        match rng.randrange(6):
            case 0:
                found[at] ^= 1 << rng.randrange(8)
            case 1:
                del found[at : at + rng.randint(1, 9)]
            case 2:
                found[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
            case 3:
                found[at:at] = rng.choice([b"\t", b"[", b"{", b": ", b"\n- ", b"&a ", b"*a ", b"!!int ", b'"', b"\0"])
            case 4:
                found[at:at] = rng.choice([b"[" * 1000, b"2001-13-45", b"!!python/object/apply:os.system [x]", b"0x"])
            case _:
                del found[at:]
        found = found or bytearray(b"\n")
    return bytes(found)


def places(values: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value within values; of a long list, those of its first."""
    inside = values.items() if isinstance(values, dict) else enumerate(values[:2]) if isinstance(values, list) else ()
    for key, value in inside:
        yield (*above, key)
        yield from places(value, (*above, key))


def changed(values: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value there."""
    made = inner = copy.deepcopy(values)
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


def without(values: Any, place: tuple[Any, ...]) -> Any:
    """A copy without what stands there."""
    made = inner = copy.deepcopy(values)
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    return made


def _renamed(values: Any, place: tuple[Any, ...]) -> Any:
    made = inner = copy.deepcopy(values)
    for key in place[:-1]:
        inner = inner[key]
    inner[f"{place[-1]}q"] = inner.pop(place[-1])
    return made


def damages(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """(what it is, the content) of what may have happened to a file; None: it is gone."""
    whole = path.read_bytes()
    yield "missing", None
    for share in (2, 3):
        yield f"cut to a {share}rd", whole[: len(whole) // share]
    yield "cut by a byte", whole[:-2]
    yield from RAW.items()


def ask(*words: object) -> tuple[int, str]:
    """The command in this process, with the answers to what goes wrong: its exit code, and what it said of errors."""
    said, before = io.StringIO(), sys.argv
    sys.argv = ["bothways", *map(str, words)]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            main()
    except SystemExit as left:
        return int(left.code or 0), said.getvalue()
    finally:
        sys.argv = before
    return 0, said.getvalue()


def unlike(made: Mutation, code: int, said: str) -> str:
    """What is wrong with an answer to a broken configuration; nothing: it is as it should be."""
    if code not in (0, 2, 3, 5) or "Traceback" in said:  # 0: of plan, which needs nothing
        return f"exit {code}"
    parts = [part for part in made.key.split(".") if not part.isdecimal()]
    shown = [*parts, *(part.removesuffix("q") for part in parts), repr(made.value)[:20]]
    if code == 2 and not any(part in said for part in (*shown, *(["config.yaml"] if not made.key else []))):
        return f"the message names nothing of {made.key}" if made.key else ""
    return ""


def tokenized(tokenizer: Tokenizer, text: str) -> str:
    """What became of a string: "the same", "with [UNK]", "named"; or "fault: " and what is wrong."""
    whole = not any("\ud800" <= character <= "\udfff" for character in text)
    try:
        one, several = tokenizer.encode(text), tokenizer.encode_batch([text, "a", text])
        tokenizer.encode_marked(text)
        tokenizer.encode_spans(text)
    except UsageError as error:
        return "named" if not whole and "lone surrogate" in str(error) else f"fault: {error}"
    if not whole:
        return "fault: a lone surrogate was read"
    if any(tokens.tolist() != one for tokens in (several[0], several[2])):
        return "fault: alone it has other tokens than among others"
    if not all(0 <= token < tokenizer.vocabulary.size for token in one):
        return "fault: a token that is none"
    back = tokenizer.decode(one)
    if tokenizer.kind != "BPE":
        return "with [UNK]" if tokenizer.vocabulary.unk in one else "without"
    return "the same" if back == unicodedata.normalize("NFC", text) else f"fault: it came back as {back!r}"
