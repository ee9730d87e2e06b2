"""How campaigns' reports earn trust, and how they lose it: random comparisons against the promises."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from contact_activity.domain.activity import (
    Activity,
    ActivityType,
    Bounce,
    BounceCategory,
    Link,
    Unsubscribe,
)
from contact_activity.domain.event import EmailAddresses, data_digest, to_event
from contact_activity.domain.trust import (
    BOTH_SHOW_MS,
    EXACT_ENOUGH,
    MAX_ROWS_EACH,
    MAX_SAMPLED,
    MAX_SAMPLED_DAILY,
    SAMPLE_EVERY_MS,
    Match,
    Mode,
    SampledRow,
    Trust,
    TypeTrust,
)
from contact_activity.state.codec import trust_from_json, trust_to_json
from tests.support.rows import ANY_TEXT, NOON_MS, TIMES_MS, TYPES

DIGEST = "0" * 32
CONTACTS = st.sampled_from([str(number) for number in range(60)])
MATCHES = st.sampled_from(Match)
OPENED = ActivityType.OPENED


def sample(contacts: int, rows_each: int = 1) -> dict[str, list[SampledRow]]:
    return {
        str(contact): [SampledRow(f"{contact}-{row}", NOON_MS, DIGEST) for row in range(rows_each)]
        for contact in range(contacts)
    }


def compared(trust: TypeTrust, contact: str, match: Match) -> TypeTrust:
    """All rows of a contact, each matching in one way."""
    matches = {row.id: match for row in trust.pending.get(contact, ())}
    return trust.compared(contact, matches, NOON_MS) if matches else trust


class TrustOfAType(RuleBasedStateMachine):
    """Samples, comparisons and counts in any order. What was found is counted beside the domain."""

    @initialize(mode=st.sampled_from(Mode))
    def begin(self, mode: Mode) -> None:
        self.trust = TypeTrust(mode, 1)
        self.now_ms = NOON_MS
        self.found: list[Match] = []
        self.was = mode
        self.has_disproof = False
        self.in_a_row = self.news = self.shifted = 0

    def _changed(self, trust: TypeTrust) -> None:
        self.was, self.trust = self.trust.mode, trust
        if trust.mode is not self.was:
            assert trust.since_ms == self.now_ms

    @rule(contacts=st.integers(0, 60), rows_each=st.integers(1, 4))
    def take_a_sample(self, contacts: int, rows_each: int) -> None:
        self._changed(self.trust.sampled(sample(contacts, rows_each), self.now_ms))
        self.found = []
        rows = [row for own in self.trust.pending.values() for row in own]
        most = MAX_SAMPLED if self.trust.mode is Mode.PROBATION else MAX_SAMPLED_DAILY
        assert len(self.trust.pending) == min(contacts, most)
        assert len(rows) == min(contacts, most) * min(rows_each, MAX_ROWS_EACH)

    @rule(contact=CONTACTS, matches=st.lists(st.none() | MATCHES, min_size=3, max_size=3))
    def compare(self, contact: str, matches: list[Match | None]) -> None:
        """Some rows of a contact are shown; a contact that is not in the sample has none."""
        rows = self.trust.pending.get(contact, ())
        shown = {row.id: match for row, match in zip(rows, matches, strict=False) if match}
        self._compare(contact, shown)

    @rule(exact=st.integers(1, 60))
    def compare_many(self, exact: int) -> None:
        for contact in list(self.trust.pending)[:exact]:
            self._compare(contact, {row.id: Match.EXACT for row in self.trust.pending.get(contact, ())})

    def _compare(self, contact: str, shown: Mapping[str, Match]) -> None:
        before = self.trust
        self.found += shown.values()
        if Match.EXACT in shown.values():
            self.in_a_row = 0
        is_different = Match.UNEQUAL in self.found or self.found.count(Match.SHIFTED) > 1
        self.has_disproof |= self.trust.mode is Mode.PUBLISH and is_different
        self._changed(self.trust.compared(contact, shown, self.now_ms))
        if before.mode is Mode.PROBATION and self.trust.mode is Mode.PUBLISH:
            assert set(self.found) == {Match.EXACT}
            assert len(self.found) >= EXACT_ENOUGH or not {*before.pending} - {contact}
            self._begin_to_publish()

    def _begin_to_publish(self) -> None:
        self.found, self.has_disproof = [], False
        self.in_a_row = self.news = self.shifted = 0
        assert self.trust == TypeTrust(Mode.PUBLISH, self.now_ms, sampled_ms=self.trust.sampled_ms)

    @rule(news=st.integers(0, 300), shifted=st.integers(0, 4))
    def count(self, news: int, shifted: int) -> None:
        self.news, self.shifted, self.in_a_row = (
            self.news + news,
            self.shifted + shifted,
            self.in_a_row + shifted if shifted else 0,
        )
        self._changed(self.trust.counted(news=news, shifted=shifted, now_ms=self.now_ms))

    @rule(contact=CONTACTS)
    def forget(self, contact: str) -> None:
        self._changed(self.trust.without(contact))
        assert contact not in self.trust.pending

    @rule(minutes=st.integers(1, 24 * 60))
    def wait(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000

    @precondition(lambda self: self.trust.mode is not Mode.OFF)
    @rule()
    def store(self) -> None:
        stored = Trust({OPENED: self.trust}, 4)
        self.trust = trust_from_json(trust_to_json(stored), 4).of(OPENED)

    @invariant()
    def off_is_for_good(self) -> None:
        assert self.was is not Mode.OFF or self.trust.mode is Mode.OFF
        assert self.trust.mode is not Mode.PROBATION or self.was is Mode.PROBATION

    @invariant()
    def trust_is_lost_exactly_by_what_disproves_it(self) -> None:
        met = self.news + self.shifted
        is_too_often = met >= 200 and self.shifted > met / 100
        is_lost = self.has_disproof or is_too_often or self.in_a_row >= 10
        if self.was is Mode.PUBLISH:
            assert (self.trust.mode is Mode.OFF) is is_lost
            assert not (is_lost and self.trust.pending)


TestTrustOfAType = TrustOfAType.TestCase


# --- probation --------------------------------------------------------------------------------------


@given(st.lists(MATCHES, min_size=1, max_size=MAX_SAMPLED))
def test_trust_is_earned_by_exact_rows_alone(matches: list[Match]) -> None:
    """Twenty, or all that the sample shows; one that is otherwise keeps the type on probation."""
    trust, modes = TypeTrust().sampled(sample(len(matches)), NOON_MS), list[Mode]()
    for contact, match in enumerate(matches):
        if trust.mode is Mode.PROBATION:
            trust = compared(trust, str(contact), match)
            modes.append(trust.mode)
    needed = min(len(matches), EXACT_ENOUGH)
    is_earned = matches[:needed] == [Match.EXACT] * needed
    assert (trust.mode is Mode.PUBLISH) is is_earned
    if is_earned:
        assert modes == [Mode.PROBATION] * (needed - 1) + [Mode.PUBLISH]


@pytest.mark.parametrize("rows", [0, 5])
def test_a_sample_that_shows_nothing_earns_nothing(rows: int) -> None:
    """Neither an empty one nor one whose rows no contact shows."""
    trust = TypeTrust().sampled(sample(rows), NOON_MS)
    for contact in range(rows):
        trust = compared(trust, str(contact), Match.ABSENT)
    assert trust.compared("somebody", {}, NOON_MS).mode is Mode.PROBATION
    assert not trust.is_proven


def test_a_new_sample_does_not_add_to_the_last_one() -> None:
    """Neither its exact rows nor the others count any more: a day later it is a new trial."""
    half = EXACT_ENOUGH // 2
    trust = TypeTrust().sampled(sample(MAX_SAMPLED), NOON_MS)
    for contact in range(half):
        trust = compared(trust, str(contact), Match.EXACT)
    trust = compared(trust, str(half), Match.UNEQUAL).sampled(sample(MAX_SAMPLED), NOON_MS)
    for contact in range(EXACT_ENOUGH):
        assert trust.mode is Mode.PROBATION
        trust = compared(trust, str(contact), Match.EXACT)
    assert trust.mode is Mode.PUBLISH


def test_rows_that_are_not_shown_yet_stay_in_the_sample() -> None:
    """Their contact is compared again, with what is left of its rows."""
    trust = TypeTrust().sampled(sample(2, 2), NOON_MS)
    trust = trust.compared("0", {"0-1": Match.EXACT}, NOON_MS)
    assert [row.id for row in trust.pending["0"]] == ["0-0"]
    assert trust.found == {Match.EXACT: 1}
    assert trust.mode is Mode.PROBATION


@given(st.sampled_from(Mode), st.none() | st.integers(-SAMPLE_EVERY_MS, 3 * SAMPLE_EVERY_MS))
def test_a_sample_is_due_once_a_day_unless_the_type_is_off(mode: Mode, ago_ms: int | None) -> None:
    """One of the future was taken by a clock that ran ahead."""
    trust = TypeTrust(mode, sampled_ms=None if ago_ms is None else NOON_MS - ago_ms)
    is_old = ago_ms is None or ago_ms < 0 or ago_ms >= SAMPLE_EVERY_MS
    assert trust.is_sample_due(NOON_MS) is (mode is not Mode.OFF and is_old)


@given(st.integers(-BOTH_SHOW_MS, 3 * BOTH_SHOW_MS), st.integers(0, 3))
def test_contacts_of_a_sample_are_asked_again_after_an_hour(ago_ms: int, contacts: int) -> None:
    """As long as some of their rows are not compared."""
    trust = TypeTrust().sampled(sample(contacts), NOON_MS - ago_ms)
    is_past = not 0 <= ago_ms < BOTH_SHOW_MS
    assert trust.is_asked_again(NOON_MS) is (contacts > 0 and is_past)


# --- trust is lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "mode"),
    [
        (Match.EXACT, Mode.PUBLISH),
        (Match.ABSENT, Mode.PUBLISH),
        (Match.UNEQUAL, Mode.OFF),
        (Match.SHIFTED, Mode.PUBLISH),
    ],
)
def test_one_row_of_a_daily_sample_whose_data_differ_ends_trust(match: Match, mode: Mode) -> None:
    """If its data differ. What is not shown may be lost, one at another hour may be a second open."""
    trust = TypeTrust(Mode.PUBLISH).sampled(sample(MAX_SAMPLED_DAILY), NOON_MS)
    assert compared(compared(trust, "0", Match.EXACT), "1", match).mode is mode


@given(st.integers(0, 9), st.integers(0, 9))
def test_ten_shifted_rows_lose_trust_unless_an_exact_one_comes_between(before: int, after: int) -> None:
    """People do open twice at whole hours, now and then."""
    trust = TypeTrust(Mode.PUBLISH).counted(news=100_000, shifted=before, now_ms=NOON_MS)
    trust = trust.sampled(sample(1), NOON_MS)
    with_exact = compared(trust, "0", Match.EXACT).counted(news=0, shifted=after, now_ms=NOON_MS)
    without = trust.counted(news=0, shifted=after, now_ms=NOON_MS)
    assert with_exact.mode is Mode.PUBLISH
    assert (without.mode is Mode.OFF) is (before + after >= 10)


@pytest.mark.parametrize(
    ("news", "shifted", "mode"),
    [
        (196, 3, Mode.PUBLISH),
        (197, 3, Mode.OFF),
        (198, 2, Mode.PUBLISH),
        (891, 9, Mode.PUBLISH),
        (890, 9, Mode.OFF),
    ],
)
def test_more_than_one_of_a_hundred_shifted_rows_lose_trust(news: int, shifted: int, mode: Mode) -> None:
    """Of two hundred at least."""
    assert TypeTrust(Mode.PUBLISH).counted(news=news, shifted=shifted, now_ms=NOON_MS).mode is mode


def test_what_is_counted_on_probation_does_not_count_against_what_is_published() -> None:
    """Rows that contacts' walks found shifted before say nothing about reports that publish."""
    trust = TypeTrust().counted(news=0, shifted=9, now_ms=NOON_MS).sampled(sample(1), NOON_MS)
    trust = compared(trust, "0", Match.EXACT)
    assert trust.mode is Mode.PUBLISH
    assert trust.counted(news=1, shifted=9, now_ms=NOON_MS).mode is Mode.PUBLISH


# --- all types together -----------------------------------------------------------------------------

ROWS = st.builds(SampledRow, st.text(max_size=5), TIMES_MS, st.just(DIGEST))
TYPE_TRUSTS = st.builds(
    TypeTrust,
    st.sampled_from(Mode),
    st.integers(0, NOON_MS),
    st.none() | TIMES_MS,
    st.none() | TIMES_MS,
    st.dictionaries(CONTACTS, st.lists(ROWS, min_size=1, max_size=3).map(tuple), max_size=3),
    st.dictionaries(MATCHES, st.integers(1, 50)),
    st.integers(0, 10**6),
    st.integers(0, 99),
    st.integers(0, 10),
)
TRUSTS = st.builds(Trust, st.dictionaries(TYPES, TYPE_TRUSTS), st.integers(0, 99))


@given(TRUSTS)
def test_trust_is_stored_and_read_back(trust: Trust) -> None:
    """The JSON of trust, with the version that the stores keep beside it, is the trust."""
    assert trust_from_json(trust_to_json(trust), trust.version) == trust


@given(TRUSTS, CONTACTS)
def test_a_forgotten_contact_is_in_no_sample(trust: Trust, contact: str) -> None:
    """Of any type; the rest stays."""
    without = trust.without(contact)
    assert without.pending_of(contact) == {}
    for type_, of in trust.types.items():
        others = {id_: rows for id_, rows in of.pending.items() if id_ != contact}
        assert without.of(type_) == replace(of, pending=others)


@given(TRUSTS, TYPES, TYPE_TRUSTS)
def test_types_are_trusted_each_for_itself(trust: Trust, type_: ActivityType, other: TypeTrust) -> None:
    """One that was never sampled is on probation."""
    changed = trust.with_type(type_, other)
    assert changed.of(type_) == other
    assert all(changed.of(of) == trust.of(of) for of in ActivityType if of is not type_)
    assert Trust().of(type_).mode is Mode.PROBATION
    for contact, rows in other.pending.items():
        assert changed.pending_of(contact)[type_] == rows


# --- the digest of what is compared -----------------------------------------------------------------

TEXTS = st.none() | st.sampled_from(["", "a", "ada@example.org", "A"]) | ANY_TEXT
ACTIVITIES = st.builds(
    Activity,
    TYPES,
    st.sampled_from(["1", "2"]),
    st.none() | st.sampled_from(["7", "8"]),
    st.sampled_from([NOON_MS, NOON_MS + 1]),
    st.sampled_from(["2024-06-12T12:00:00.000Z", "noon"]),
    st.just("EMAIL_OPEN"),
    st.none() | st.sampled_from(["ada@example.org", "ADA@example.org"]),
    st.none() | st.builds(Link, st.none() | st.just("1"), TEXTS),
    st.none() | st.builds(Bounce, TEXTS, st.sampled_from(BounceCategory), TEXTS, TEXTS),
    st.none() | st.builds(Unsubscribe, TEXTS, TEXTS),
)


@given(ACTIVITIES, ACTIVITIES, st.sampled_from(EmailAddresses), st.integers(1, NOON_MS), st.booleans())
def test_the_digest_tells_what_the_data_of_an_event_is(
    one: Activity, other: Activity, addresses: EmailAddresses, observed_ms: int, backfill: bool
) -> None:
    """Equal for equal data, and otherwise not, whatever else the events say."""

    def data_of(activity: Activity, at_ms: int, is_old: bool) -> str:
        event = to_event(activity, account="a", email_addresses=addresses, observed_ms=at_ms, backfill=is_old)
        return json.dumps(json.loads(event.detail)["data"])

    is_equal = data_of(one, observed_ms, backfill) == data_of(other, NOON_MS, False)
    digests = [data_digest(activity, "a", addresses) for activity in (one, other)]
    assert (digests[0] == digests[1]) is is_equal
    assert all(len(bytes.fromhex(digest)) == 16 for digest in digests)
    assert data_digest(one, "b", addresses) != digests[0]
