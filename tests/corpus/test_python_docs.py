"""What is taken from a module, on a made-up one."""

from __future__ import annotations

from pathlib import Path

from bothways.corpus.python_docs import _module, modules

SOURCE = '''#!/usr/bin/env python
# -*- coding: utf-8 -*-
# A block of comments that says
# something in two lines.
"""The module's docstring.

    Indented.
"""
import os  # a comment at the end of a line is no block

NAME = """
# inside a string this is no comment at all
"""
# old_code(was, commented, out, too, goes)
# ----------------------------------------

class Boat:
    """Floats."""

    def sail(self, wind, *, knots=3, speaking_of='headings that are long'):
        \'\'\'Moves the boat, as long as there is some wind, into the direction
        that was said before.\'\'\'
        # Nobody knows why this one is here, it's a mystery.
        return wind

if os:
    async def call(): "Calls."
'''


SAIL = "Moves the boat, as long as there is some wind, into the direction that was said before."


def test_a_module_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text(SOURCE)
    (module,) = modules(tmp_path)
    assert _module(*module) == "\n\n".join(
        [
            "pack\nThe module's docstring.\n\nIndented.",
            "A block of comments that says\nsomething in two lines.",
            "class Boat\nFloats.",
            f"Boat.sail(self, wind, *, knots=3, speaking_of='headings that are long')\n{SAIL}",
            "Nobody knows why this one is here, it's a mystery.",
            "call()\nCalls.",
        ]
    )


def test_what_does_not_parse_says_nothing(tmp_path: Path) -> None:
    for name, content in (("a.py", b"print 'old'"), ("b.py", b"\xff"), ("c.py", b"x = 1\n"), ("d.py", b"\x00")):
        (tmp_path / name).write_bytes(content)
    assert [(module[0], _module(*module)) for module in modules(tmp_path)] == [("c", "")]
