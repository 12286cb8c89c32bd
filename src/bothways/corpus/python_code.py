"""Code that every Python brings along: the standard library's functions, with their descriptions and without.

After CodeSearchNet (Husain et al. 2019, section 2.1), from which CodeBERT is trained: of a documented function the
first paragraph of its docstring, and its source without the docstring; functions of fewer than three lines and names
between double underscores are left out, docstrings of fewer than three words count as none. Functions inside
functions are part of those. Modules are parsed and never imported.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache

from bothways.corpus.python_docs import docstring, modules

LANGUAGES = ("english", "python")

_FEWEST_LINES = 3
_FEWEST_WORDS = 3

Function = ast.FunctionDef | ast.AsyncFunctionDef


def described() -> tuple[tuple[str, str], ...]:
    """(its description, function), in the order of the files' names and of their lines."""
    return tuple((description, code) for description, code in _functions() if description)


def undescribed() -> tuple[str, ...]:
    """The functions without a description, in the same order."""
    return tuple(code for description, code in _functions() if not description)


@cache
def _functions() -> tuple[tuple[str, str], ...]:
    return tuple(found for _, source, tree in modules() for found in functions(source, tree))


def functions(source: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(its description, function) for those of one module; empty for some."""
    lines = source.split("\n")
    for node in _outermost(tree.body):
        code = _code(node, lines)
        if node.name.startswith("__") or "test" in node.name.lower() or len(code.splitlines()) < _FEWEST_LINES:
            continue
        description = docstring(node).split("\n\n")[0].strip()
        yield (description if len(description.split()) >= _FEWEST_WORDS else ""), code


def _outermost(body: Sequence[ast.AST]) -> Iterator[Function]:
    """Functions and methods, but not those inside them."""
    for statement in body:
        if isinstance(statement, Function):
            yield statement
            continue
        for part in ("body", "handlers", "orelse", "finalbody"):
            yield from _outermost(getattr(statement, part, ()))


def _code(node: Function, lines: Sequence[str]) -> str:
    """Its lines, decorators first, without those of its docstring; empty when nothing is left of its body."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    own = list(range(first - 1, node.end_lineno or node.lineno))
    opening = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        if len(node.body) == 1 or node.body[1].lineno == opening.end_lineno or opening.lineno == node.lineno:
            return ""
        own = [line for line in own if not opening.lineno - 1 <= line < (opening.end_lineno or opening.lineno)]
    return textwrap.dedent("\n".join(lines[line] for line in own)).strip("\n")
