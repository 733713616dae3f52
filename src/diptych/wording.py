"""How the values and messages of others are shown in a line of ours: short, and with nothing that a terminal would obey."""

import re
import reprlib

OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys: control characters, line breaks, marks that turn the direction of writing. And invalid Unicode."""
NO_NAME = re.compile(r"[^\s/\\]{256,}")
"""A word that cannot be the name of a file."""
SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""The text in one line, with escapes for what a terminal obeys and for invalid Unicode: a name may have any of it.

    The escapes are those of JSON and TOML: a string that is written so in a file still has the same value.

    >>> print(printable("one\n\x1b[31mred.png"))
    one\n\u001b[31mred.png
    """
    return OBEYED.sub(lambda found: SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), text)


def without_long_words(text: str) -> str:
    """The text with words cut in their middle that are too long for a file's name: somebody typed them by mistake.

    >>> without_long_words(f"--size {'9' * 5000} is no size")
    '--size 99999999999999999999...99999999999999999999 is no size'
    """
    return NO_NAME.sub(lambda found: f"{found[0][:20]}...{found[0][-20:]}", text)


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
    r"""A message on one line of at most `most` characters, printable.

    >>> brief("one line\nand another \x1b[31m"), brief("a long message", 9)
    ('one line and another \\u001b[31m', 'a long...')
    """
    line = printable(" ".join(str(text)[: 4 * most].split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def counted(count: int, what: str) -> str:
    """A number with its noun.

    >>> counted(1, "pair"), counted(2, "pair")
    ('1 pair', '2 pairs')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"
