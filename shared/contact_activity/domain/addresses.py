"""Hide a person's e-mail address inside other texts.

A bounce message quotes the address, a link carries it as a parameter, a reason is signed with it: each
in a spelling of its own.
"""

import re
import unicodedata
from contextlib import suppress
from functools import lru_cache

TEXT_LIMIT_BYTES = 4096
PLACEHOLDER = "[address]"

# How often a text may be percent-encoded again: `%40`, `%2540` and so on.
_NESTED = 3
# An address has at most 64 bytes before the @ and 255 after it.
_ADDRESS_CHARACTERS = 320
_TAG_CHARACTERS = 64
# A line of a mail may break anywhere: with a `=` in quoted-printable, with a space after it in headers.
_FOLD_BLANKS = 8
# Possessive: a name with many `=` could otherwise be matched in exponentially many ways.
_FOLD = rf"(?:=?\r?\n[ \t]{{0,{_FOLD_BLANKS}}})?+"
# The longest spelling of a character: four bytes, each percent-encoded to the depth above, and a break.
_SPELLING_CHARACTERS = 4 * (len("%40") + 2 * _NESTED) + len("&amp;") + len("=\r\n") + _FOLD_BLANKS
_ENTITY_NAMES = {
    "@": "commat",
    "+": "plus",
    ".": "period",
    "_": "lowbar",
    "-": "hyphen|dash",
    '"': "quot|quote",
    "'": "apos",
    "&": "amp",
}
# These characters can look like a part of the break that follows them, which a fold takes away.
_BREAKING = {"=": r"=(?=\r?\n)", "@": r"=(?=\r?\n)", "+": r"\r?\n[ \t]{1,8}"}
# Each of them may be read in two ways: with more, all of them together in more than there is time for.
_MAX_BREAKING = 3
# A return path writes `ada@example.org` as `ada=example.org`; a form writes a space as `+`.
_STANDS_FOR = {"@": "=", "+": " ", " ": "+"}


def cut(text: str) -> str:
    """Cut a text to 4 KB of UTF-8, never inside a character. A lone surrogate becomes `?`."""
    if text.isascii() and len(text) <= TEXT_LIMIT_BYTES:
        return text
    return text.encode("utf-8", "replace")[:TEXT_LIMIT_BYTES].decode("utf-8", "ignore")


def hide_and_cut(text: str, address: str | None) -> str:
    """Replace each spelling of the address by `[address]`, then cut the text to 4 KB.

    Finds the address in any case, percent-encoded in any part and up to four times over, as character
    references, in quoted-printable, broken over lines, with the name in quotes, with another `+` tag or
    none, in the form of return paths, and with the domain in letters or in its `xn--` form. An address
    with more than three `=` may be missed where a line breaks right behind one of them. A value without
    an `@` is no address.
    """
    address = (address or "").strip()
    if not all(address.partition("@")):
        return cut(text)
    # Before the search: the `?` of a lone surrogate may be a part of the address.
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= TEXT_LIMIT_BYTES and not _sign(address).search(text):
        return cut(text)
    pattern = _spellings(address)
    longest = (len(address) + _TAG_CHARACTERS) * _SPELLING_CHARACTERS
    parts: list[str] = []
    # Search no more of a huge text than comes out.
    room, start = TEXT_LIMIT_BYTES, 0
    while room > 0 and start < len(text):
        found = pattern.search(text, start, start + room + longest)
        end = found.start() if found else start + room
        parts.append(text[start:end])
        room -= end - start
        if not found:
            break
        parts.append(PLACEHOLDER)
        room -= len(PLACEHOLDER)
        start = found.end()
    return cut("".join(parts))


@lru_cache(maxsize=256)
def _sign(address: str) -> re.Pattern[str]:
    """What every spelling contains. It is found much faster, and most texts do not contain it."""
    domain = unicodedata.normalize("NFC", address).rpartition("@")[2]
    begins = sorted({_spelled(form[:2], False) for form in _domains(domain)})
    return re.compile(f"{_spelled_one('@')}{_FOLD}(?:{'|'.join(begins)})", re.IGNORECASE)


@lru_cache(maxsize=256)
def _spellings(address: str) -> re.Pattern[str]:
    if len(address) > _ADDRESS_CHARACTERS:
        return re.compile(re.escape(address), re.IGNORECASE)
    name, _, domain = unicodedata.normalize("NFC", address).rpartition("@")
    if len(name) > 2 and name[0] == name[-1] == '"':
        name = name[1:-1]
    quote, at = _spelled_one('"'), _spelled_one("@")
    may_break = address.count("=") <= _MAX_BREAKING
    domains = "|".join(_spelled(form, may_break) for form in sorted(_domains(domain)))
    at = f"{_FOLD}(?(quote){quote}{_FOLD}){at}"
    if may_break:
        at = f"(?:{at}|{_BREAKING['@']})"
    whole = f"(?P<quote>{quote})?{_name(name, may_break)}{at}{_FOLD}(?:{domains})"
    return re.compile(whole, re.IGNORECASE)


def _name(name: str, may_break: bool) -> str:
    """Match the name with its own tag, another one or none: all of them reach the same person."""
    base, plus, tag = name.partition("+")
    if not base:
        return _spelled(name, may_break)
    # A `=` before a break is one of its characters.
    any_tag = rf'(?:[^\s@<>"]|\r?\n[ \t]{{0,{_FOLD_BLANKS}}}+){{0,{_TAG_CHARACTERS}}}?'
    tags = f"{_spelled(tag, may_break)}|{any_tag}" if plus else any_tag
    return f"{_spelled(base, may_break)}(?:{_after_break('+', may_break)}{_FOLD}(?:{tags}))?"


def _domains(domain: str) -> set[str]:
    """The domain as it is, in letters, and in its `xn--` form."""
    forms = {domain}
    with suppress(UnicodeError):
        forms.add(domain.encode("idna").decode())
    with suppress(UnicodeError):
        forms.add(domain.encode().decode("idna"))
    return forms - {""}


def _spelled(text: str, may_break: bool) -> str:
    """Match every spelling of a text, which may be broken between any two characters."""
    return _spelled_one(text[:1]) + "".join(_after_break(character, may_break) for character in text[1:])


def _after_break(character: str, may_break: bool) -> str:
    """`may_break`: the character itself may look like a part of the break that follows it."""
    usual = f"{_FOLD}{_spelled_one(character)}"
    return f"(?:{usual}|{_BREAKING[character]})" if may_break and character in _BREAKING else usual


def _spelled_one(character: str) -> str:
    """Match every spelling of one character, each in one way only."""
    cases = {character.lower(), character.upper(), character.casefold()}
    cases |= {unicodedata.normalize("NFD", form) for form in cases}
    # The pattern ignores case: with both cases there would be two ways to match each character.
    spellings = {re.escape(form.casefold()) for form in cases}
    for form in cases:
        encoded = form.encode("utf-8", "replace")
        spellings.add("".join(_percent(byte) for byte in encoded))
        spellings.add("".join(f"={byte:02x}" for byte in encoded))
        if len(form) == 1:
            spellings.add(_reference(form))
    if character in _STANDS_FOR:
        other = _STANDS_FOR[character]
        spellings |= {re.escape(other), _percent(ord(other))}
    return f"(?:{'|'.join(sorted(spellings))})"


def _percent(byte: int) -> str:
    return f"%(?:25){{0,{_NESTED}}}{byte:02x}"


def _reference(character: str) -> str:
    code = ord(character)
    names = f"|{_ENTITY_NAMES[character]}" if character in _ENTITY_NAMES else ""
    return f"&(?:amp;){{0,{_NESTED}}}(?:#0{{0,4}}{code}|#x0{{0,4}}{code:x}{names});?"
