"""Text from people: files in UTF-8, and names that look the same are the same.

Standard library only: the Snakefile reads its sheets and configs with it.
"""

from __future__ import annotations

import codecs
import unicodedata
from pathlib import Path

from ovnerf.runtime.errors import UserError

OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""First bytes of files in other encodings. UTF-32 comes first: its mark begins with UTF-16's."""
UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Unicode categories of characters that show nothing: controls, zero-width marks, odd blanks."""
DAMAGED = "\N{REPLACEMENT CHARACTER}"
"""What programs write for bytes that they could not decode."""


def read_text(path: Path) -> str:
    """The text of a file, line ends as `\\n`, without a byte-order mark.

    Raises:
        UserError: no such file, or it is not UTF-8; the message names the line.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{path}: found a folder, expected a text file") from None
    for mark, encoding in OTHER_MARKS.items():
        if content.startswith(mark):
            raise not_utf8(path, 1, f"{encoding} text")
    if b"\0" in content:
        line = line_of(content, content.index(b"\0"))
        raise not_utf8(path, line, "a zero byte (UTF-16, or not a text file)")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # `error.start` does not count a byte-order mark; `error.object` does not hold it either.
        line = line_of(error.object, error.start)
        raise not_utf8(path, line, f"byte 0x{error.object[error.start]:02x}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without their ends; raises as `read_text`.

    `str.splitlines` would also split at form feeds and other marks inside a name.
    """
    lines = read_text(path).split("\n")
    return lines if lines[-1] else lines[:-1]


def line_of(content: bytes, position: int) -> int:
    """Number (from 1) of the line that holds the byte at this position."""
    before = content[:position].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return before.count(b"\n") + 1


def not_utf8(path: Path, line: int, found: str) -> UserError:
    """The error of a text file in another encoding."""
    return UserError(
        f"{path}, line {line}: found {found}, expected UTF-8 text",
        "save it as UTF-8 (in an editor: `save with encoding`; or with iconv)",
    )


def same_form(name: str) -> str:
    """A name in Unicode's composed form (NFC), for comparing.

    The letter with an accent can be one character or two; file names made on a Mac have two.
    """
    return unicodedata.normalize("NFC", name)


def word_form(name: str) -> str:
    """A word as meanings are compared: without regard to case and to how wide its blanks are.

    >>> word_form("Coffee  Table") == word_form("coffee table")
    True
    """
    return same_form(" ".join(name.casefold().split()))


def spellings(name: str) -> tuple[str, ...]:
    """The names that a file of this name may have on other systems: as it is, composed, decomposed.

    Macs and some archives decompose letters with accents (NFD); a file is then not found under the
    composed name, although the two look the same.
    """
    return tuple(dict.fromkeys((name, same_form(name), unicodedata.normalize("NFD", name))))


def clean_name(name: str, where: str) -> str:
    """A name as it is stored and compared: composed (NFC), without blanks at its ends.

    Args:
        where: the file, and the line where there are lines, for the message.

    Raises:
        UserError: the name holds a character that cannot be seen, or the sign of damaged text.
    """
    clean = same_form(name).strip()
    for character in clean:
        unseen = character != " " and unicodedata.category(character) in UNSEEN
        if unseen or character == DAMAGED:
            title = unicodedata.name(character, "a control character")
            raise UserError(
                f"{where}: found U+{ord(character):04X} ({title}) in the name "
                f"{clean!a}, expected characters that can be seen",
                "delete it, or type an ordinary blank; it often comes with copied text",
            )
    return clean
