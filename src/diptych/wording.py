"""How the values and messages of others are shown in a line of ours: short, and with nothing that a terminal would obey."""

import reprlib


class _Short(reprlib.Repr):
    """`repr` of a few parts of a value, never of a whole one: it may be megabytes, or nested thousands deep."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict, self.maxlist, self.maxtuple, self.maxset = 2, 2, 3, 3, 3
        self.maxstring = self.maxlong = self.maxother = 40

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write out a number of thousands of digits."""
        digits = x.bit_length() * 0.30103
        return repr(x) if digits < self.maxlong else f"a number of about {digits:.0f} digits"


_short = _Short()


def shown(value: object) -> str:
    """A value that was found, at most 60 characters.

    >>> shown("red"), shown("a" * 10**6), shown([[[1]], 2, 3, 4]), shown(10**5000)
    ("'red'", "'aaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaa'", '[[[...]], 2, 3, ...]', 'a number of about 5000 digits')
    """
    return brief(_short.repr(value), 60)


def brief(text: object, most: int = 120) -> str:
    r"""A message on one line of at most `most` characters, control characters escaped.

    >>> brief("one line\nand another \x1b[31m"), brief("a long message", 9)
    ('one line and another \\x1b[31m', 'a long...')
    """
    line = " ".join(str(text)[: 4 * most].split())
    line = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in line)
    return line if len(line) <= most else f"{line[: most - 3]}..."
