"""Functions of a made-up module, with what is said of them; and those of this Python."""

from __future__ import annotations

import ast

from bothways.corpus import python_code

SOURCE = '''
class Boat:
    """Floats."""

    @property
    def speed(self):
        """How fast it goes,
        in knots.

        More of it here.
        """
        # Comments stay.
        wind = self.wind
        return wind / 2

    def __init__(self, wind):
        """Makes a boat of wood."""
        self.wind = wind
        self.name = None

    def sail(self):
        def inner(x):
            """Is part of the function around it."""
            return x
        return inner(self)


async def moor(boat):
    """Short."""
    if boat:
        return boat


def only(): "Nothing but this string is here."


def said():
    """Says what it does, and does nothing else."""


def test_boats():
    """Tests are left out of it."""
    boat = Boat(1)
    assert boat
'''


def found() -> list[tuple[str, str]]:
    return list(python_code.functions(SOURCE, ast.parse(SOURCE)))


def test_a_function_stands_beside_the_first_paragraph_of_its_docstring() -> None:
    said, code = found()[0]
    assert said.split() == ["How", "fast", "it", "goes,", "in", "knots."]
    assert code == ("@property\ndef speed(self):\n    # Comments stay.\n    wind = self.wind\n    return wind / 2")


def test_functions_without_a_docstring_of_three_words_stand_alone() -> None:
    assert [code.split("(")[0] for said, code in found() if not said] == ["def sail", "async def moor"]
    assert "part of the function around it" in found()[1][1]
    assert "Short" not in found()[2][1]


def test_what_is_left_out() -> None:
    assert len(found()) == 3
    assert not any(name in code for _, code in found() for name in ("__init__", "only", "said", "test_boats"))


def test_this_python_has_thousands() -> None:
    pairs, alone = python_code.described(), python_code.undescribed()
    assert len(pairs) > 2000 and len(alone) > 2000
    assert pairs == python_code.described()
    dumps = next(code for said, code in pairs if said.startswith("Serialize ``obj`` to a JSON formatted ``str``"))
    assert dumps.startswith("def dumps(obj, *,")
    assert '"""' not in dumps
    for _, code in pairs[::50]:
        ast.parse(code)
