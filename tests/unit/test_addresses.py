"""An address inside the other texts of its row, when it must not be published."""

import json
import random
import re
from dataclasses import replace
from html import unescape
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contact_activity.constant_contact.v2_rows import parse_row
from contact_activity.domain.activity import Activity, ActivityType, derive_id
from contact_activity.domain.addresses import TEXT_LIMIT_BYTES, cut, hide_and_cut
from contact_activity.domain.event import EmailAddresses, to_event
from tests.support.rows import ANY_TEXT, NOON_MS, row

HIDDEN = st.sampled_from([EmailAddresses.HASHED, EmailAddresses.OMITTED])
NAMES = st.text("abcXYZ019.!#$%&'*+/=?^_`{|}~-é", min_size=1, max_size=12).filter(
    lambda name: name.count("=") <= 3
)
DOMAINS = st.from_regex(r"[a-zA-Z0-9]{1,8}(\.[a-z]{2,5}){1,2}", fullmatch=True)
ADDRESSES = st.builds(lambda name, domain: f"{name}@{domain}", NAMES, DOMAINS)
# Nothing that could complete a spelling by chance; long enough to reach the cut.
AROUND = st.text("\n <>():/€", max_size=12) | st.integers(TEXT_LIMIT_BYTES - 60, TEXT_LIMIT_BYTES).map(
    lambda count: " " * count
)
FIELDS = {
    ActivityType.CLICKED: ("link_uri",),
    ActivityType.BOUNCED: ("bounce_code", "bounce_description", "bounce_message"),
    ActivityType.UNSUBSCRIBED: ("unsubscribe_source", "unsubscribe_reason"),
}
TYPE_AND_FIELD = st.sampled_from([(type_, name) for type_, names in FIELDS.items() for name in names])


# Of a line of mail: quoted-printable, in a header, in a plain text.
BREAKS = ("=\r\n", "=\n", "\r\n ", "\n\t", "\n")


def spelled(address: str, rng: random.Random) -> str:
    """Each character in a spelling of its own, with breaks, as no sender would: all of them in one text."""
    first, *others = (_spelled(character, rng) for character in address)
    return first + "".join(rng.choice([*[""] * 9, *BREAKS]) + other for other in others)


def _spelled(character: str, rng: random.Random) -> str:
    cased = rng.choice([character, character.lower(), character.upper()])
    percent = "".join(f"%{byte:02X}" for byte in cased.encode())
    for _ in range(rng.randrange(4)):
        percent = percent.replace("%", "%25")
    reference = rng.choice(["&#{};", "&#0{};", "&amp;#{};"]).format(ord(cased))
    hexadecimal = f"&#x{ord(cased):x};"
    if len(cased) > 1:
        reference = hexadecimal = percent
    return rng.choice([cased, cased, percent, percent.lower(), reference, hexadecimal])


def decoded(text: str) -> str:
    """The text with every layer of encoding and all breaks taken off, in lower case."""
    before, text = "", re.sub(r"=?\r?\n[ \t]*", "", text)
    while text != before:
        before, text = text, unescape(unquote(text))
    return text.casefold()


def event_data(provided: object, mode: EmailAddresses) -> dict[str, dict[str, str]]:
    activity = parse_row(provided, "4711")
    assert isinstance(activity, Activity)
    detail = to_event(
        activity, account="default", email_addresses=mode, observed_ms=NOON_MS, backfill=False
    ).detail
    data: dict[str, dict[str, str]] = json.loads(detail)["data"]
    return data


def texts_of(data: dict[str, dict[str, str]]) -> list[str]:
    return [text for part in data.values() if isinstance(part, dict) for text in part.values()]


@given(ADDRESSES, TYPE_AND_FIELD, HIDDEN, st.lists(AROUND, min_size=2, max_size=5), st.integers())
@example("a@b.cd", (ActivityType.CLICKED, "link_uri"), EmailAddresses.OMITTED, [" " * 4_090, ""], 0)
def test_a_hidden_address_is_nowhere_in_its_event(
    address: str, place: tuple[ActivityType, str], mode: EmailAddresses, around: list[str], seed: int
) -> None:
    """However it is spelled, wherever it stands and whatever is cut: `[address]` is there instead."""
    (type_, name), rng = place, random.Random(seed)
    text = around[0] + "".join(spelled(address, rng) + part for part in around[1:])
    data = event_data(row(type_, email_address=address, **{name: text}), mode)
    published = " ".join(texts_of(data))
    assert decoded(address) not in decoded(published)
    untouched = "[address]".join(around)
    assert cut(untouched) in texts_of(data)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("a=b@example.org", "a=\nb@example.org"),
        ("a=b@example.org", "a=\r\n b@example.org"),
        ("a=b@example.org", "a=\r\n=b@example.org"),
        ("0000=0@0.aa.aaa", "0000=0=\n@0.aa.aaa"),
        ("ada@example.org", "ada=\nexample.org"),
        ("ada+news@example.org", "ada\n news@example.org"),
        ("ada+news@example.org", "ada+=\nnews@example.org"),
    ],
)
def test_a_break_beside_a_character_that_looks_like_one_hides_no_address(address: str, text: str) -> None:
    """A `=` may end a line as a character of the name or as a part of the break, a blank may be a `+`."""
    assert hide_and_cut(f"to {text}: unknown", address) == "to [address]: unknown"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("unit", ["=\n", "=\n =", "=\r\n\t=", "\n =", "=\n+\n "])
@pytest.mark.parametrize(
    "address", ["=" * 60 + "@example.org", "========@========x", "===@=x", "========+==a+@ex.org", "=+=@=.="]
)
def test_an_address_of_many_equals_signs_takes_no_time(address: str, unit: str) -> None:
    """Each could be read in two ways, all of them together in more than there is time for."""
    for text in (unit * 2_000, "x" + unit * 2_000):
        assert len(hide_and_cut(text, address).encode()) <= TEXT_LIMIT_BYTES


@given(ADDRESSES, ANY_TEXT, ANY_TEXT, TYPE_AND_FIELD)
def test_a_plain_address_changes_no_text(
    address: str, before: str, after: str, place: tuple[ActivityType, str]
) -> None:
    """Under `plain` each text is what the provider sent, cut at 4 KB, lone surrogates apart."""
    type_, name = place
    text = before + address + after * 400
    sent = row(type_, email_address=address, **{name: text})
    expected = text.encode("utf-8", "replace")[:TEXT_LIMIT_BYTES].decode("utf-8", "ignore")
    assert expected in texts_of(event_data(sent, EmailAddresses.PLAIN))


@given(address=ADDRESSES, mode=HIDDEN, is_in_link=st.booleans())
def test_hiding_an_address_changes_no_id(address: str, mode: EmailAddresses, *, is_in_link: bool) -> None:
    """An id is derived from what the provider sent, also if the address is part of that."""
    sent = row(
        ActivityType.CLICKED, email_address=address, link_id=address if is_in_link else "0", link_uri=""
    )
    activity = parse_row(sent, "4711")
    assert isinstance(activity, Activity)
    event = to_event(activity, account="default", email_addresses=mode, observed_ms=NOON_MS, backfill=False)
    assert event.id == derive_id("default", activity)
    assert event.id == derive_id("default", replace(activity, email_address=None))
    assert address not in event.detail


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("550 <Ada.Lovelace+News@Example.ORG>: unknown", "550 <[address]>: unknown"),
        ("https://x.example/?e=ada.lovelace%2Bnews%40example.org&b=1", "https://x.example/?e=[address]&b=1"),
        ("https://x.example/?e=ada.lovelace%252Bnews%2540example.org", "https://x.example/?e=[address]"),
        ("https://x.example/?e=ada.lovelace news%40example.org", "https://x.example/?e=[address]"),
        ("ada.lovelace&#43;news&#64;example.org", "[address]"),
        ("ada.lovelace&plus;news&commat;example&period;org", "[address]"),
        ('"ada.lovelace+news"@example.org', "[address]"),
        ('to "ada.lovelace+news@example.org".', 'to "[address]".'),
        ("ada.lovelace@example.org is the same person", "[address] is the same person"),
        ("ada.lovelace+shop@example.org too", "[address] too"),
        ("bounce-17-ada.lovelace+news=example.org@mail.example", "bounce-17-[address]@mail.example"),
        ("=?utf-8?q?ada.lovelace=2Bnews=40example.org?=", "=?utf-8?q?[address]?="),
        (
            "grace@example.org, ada.lovelace+news@example.com",
            "grace@example.org, ada.lovelace+news@example.com",
        ),
        ("to <ada.love=\r\nlace+news@exam=\r\nple.org>", "to <[address]>"),
        ("for ada.lovelace+news@\r\n example.org;", "for [address];"),
        ("for ada.lovelace+sh\r\n op@example.org;", "for [address];"),
        ("for ada.lovelace+sh=\r\nop@example.org;", "for [address];"),
        ("ada.lovelace, 100% of &amp; = @ %40", "ada.lovelace, 100% of &amp; = @ %40"),
    ],
)
def test_spellings_that_mail_systems_use(text: str, shown: str) -> None:
    """Found and hidden, and nothing else is."""
    assert hide_and_cut(text, "ada.lovelace+news@example.org") == shown


@pytest.mark.parametrize(
    "text",
    [
        "ünal@xn--exmple-cua.org",
        "ÜNAL@EXÄMPLE.org",
        "%C3%BCnal@ex%c3%a4mple.org",
        "u\u0308nal@exa\u0308mple.org",
    ],
)
def test_letters_beyond_ascii_have_spellings_too(text: str) -> None:
    """In either case, in letters or `xn--`, composed or not."""
    assert hide_and_cut(text, "ünal@exämple.org") == "[address]"


@pytest.mark.parametrize("value", [None, "", " ", "ada", "@", "ada@", "@example.org"])
def test_what_is_no_address_hides_nothing(value: str | None) -> None:
    """Otherwise a single letter in that field would make a text unreadable."""
    text = "ada wrote to ada@example.org"
    assert hide_and_cut(text, value) == text


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a" * 3_000_000, f"{'a' * 200}@{'y' * 100}.org"),
        ("%2525" * 500_000, f"{'%25' * 40}@example.org"),
        ("&amp;amp;" * 500_000, f"{'&amp;' * 40}@example.org"),
        (("a+" * 40 + "@b") * 30_000, "a@example.org"),
        ("=" * 3_000_000, "=@example.org"),
        ("ada@example.org" * 200_000, "ada@example.org"),
        ("==\r\n" * 800_000, f"{'=' * 60}@example.org"),
        (("\r\n" + " " * 8) * 300_000, f"a{'+' * 60}@example.org"),
        ("a+" + "=\r\n" * 800_000, "a+b@example.org"),
        ("a\n" * 1_500_000 + "@example.org", f"{'a' * 200}@example.org"),
        ("a@" + "=\r\n" * 1_000_000, "a@example.org"),
        ("a" + "\n " * 1_500_000, "aa@example.org"),
    ],
)
@pytest.mark.timeout(20)
def test_no_text_takes_long(text: str, address: str) -> None:
    """Megabytes that nearly hold the address, at every place, are cut in no time."""
    shown = hide_and_cut(text, address)
    assert len(shown.encode()) <= TEXT_LIMIT_BYTES
    assert re.fullmatch(r"(\[address\])*(\[a?d?d?r?e?s?s?)?", shown) or shown == text[: len(shown)]
