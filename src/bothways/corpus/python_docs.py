"""A corpus that every Python brings along: the standard library's documentation, read from disk.

One document a module: its docstring, then its classes' and functions' docstrings and its block comments in the order
of the source; and one document a topic of `pydoc_data.topics`. Modules are parsed and never imported.
"""

from __future__ import annotations

import ast
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

_LEFT_OUT = {"site-packages", "dist-packages", "encodings", "pydoc_data", "test", "tests", "idle_test"}
_STRING = r'("""|\'\'\')(?:\\.|(?!\1).)*\1|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
_STRINGS_AND_COMMENTS = re.compile(
    rf"{_STRING}|^(?P<block>(?:[ \t]*#[^\n]*(?:\n|\Z))+)|#[^\n]*", re.DOTALL | re.MULTILINE
)
_SHEBANG = re.compile(r"\A#!.*")
_MARK = re.compile(r"^[ \t]*#[#:|*]* ?|[ \t#]+$", re.MULTILINE)
_NO_PROSE = re.compile(r"^(?:\W*|.*-\*-.*|[\w.]+\W*)(?:\n|\Z)", re.MULTILINE)  # rules, coding lines, lone words
_PARAGRAPH = re.compile(r"^( *)(?!>>>|\.\. )\S.{50,}(?:\n\1[\w(\"'].{50,})*\n\1[\w(\"'].*$", re.MULTILINE)

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@cache
def python_docs() -> tuple[str, ...]:
    """All documents, in the order of the files' names."""
    documents = [_module(*module) for module in modules()]
    return tuple(text for text in [*documents, *_topics()] if text)


def modules(root: Path | None = None) -> Iterator[tuple[str, str, ast.Module]]:
    """(name, source, syntax tree) of the modules that parse, in the order of their files; `root` holds them."""
    root = root or Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if _LEFT_OUT & {*inside.parts}:
            continue
        try:
            source = path.read_text(encoding="utf-8")
            tree = _parse(source)
        except (SyntaxError, ValueError, RecursionError):
            continue
        yield ".".join(inside.with_suffix("").parts).removesuffix(".__init__"), source, tree


def _topics() -> Iterator[str]:
    from pydoc_data.topics import topics

    for name in sorted(topics):
        yield _prose(topics[name])


def _prose(text: str) -> str:
    """Without what it is indented by, every paragraph on one line, no more than one empty line."""
    unwrapped = _PARAGRAPH.sub(lambda found: re.sub(r"\n *", " ", found[0]), inspect.cleandoc(text))
    return re.sub(r"\n{3,}", "\n\n", unwrapped).strip()


def _module(name: str, source: str, tree: ast.Module) -> str:
    """The document of one module; empty when it has no documentation."""
    texts = sorted([*_docstrings(tree.body, ""), *_comments(source)])
    heading = f"{name}\n{docstring(tree)}".strip()
    return "\n\n".join([heading, *(text for _, text in texts)]) if texts or heading != name else ""


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old code escapes what needs no escape
        return ast.parse(source)


def _docstrings(body: Sequence[ast.AST], prefix: str) -> Iterator[tuple[int, str]]:
    """(line, heading and docstring) of every class and function, however deep."""
    for statement in body:
        below = prefix
        if isinstance(statement, Definition):
            below = f"{prefix}{statement.name}."
            if text := docstring(statement):
                yield statement.lineno, f"{prefix}{_heading(statement)}\n{text}"
        for part in ("body", "handlers", "orelse", "finalbody"):
            yield from _docstrings(getattr(statement, part, ()), below)


def docstring(node: ast.Module | Definition) -> str:
    """What a module, class or function documents about itself, as prose; empty when it does not."""
    return _prose(ast.get_docstring(node, clean=False) or "")


def _heading(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    return f"{node.name}({ast.unparse(node.args)})"


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of comments that fill whole lines, joined over consecutive lines."""
    for found in _STRINGS_AND_COMMENTS.finditer(_SHEBANG.sub("", source)):
        if block := found["block"]:
            text = inspect.cleandoc("\n" + _NO_PROSE.sub("\n", _MARK.sub("", block)))
            if len(text.split()) >= 5 and not _is_code(text):
                yield source.count("\n", 0, found.start()) + 1, _prose(text)


def _is_code(text: str) -> bool:
    """Whether it is code that was commented out."""
    try:
        _parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
