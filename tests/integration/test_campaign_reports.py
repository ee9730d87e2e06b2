"""Campaigns' reports as the second source, from the simulated account to the bus, in virtual time."""

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from contact_activity.domain.times import DAY_MS, HOUR_MS
from contact_activity.domain.trust import Mode
from contact_activity.simulated import Kind, SimulatedAccount, Switches
from contact_activity.simulated.account import Campaign, Contact, Row
from contact_activity.simulated.switches import REPORTS, Shift, Side
from tests.support.running import key_of_row
from tests.support.virtual_reader import TICK_MS, VirtualReader
from tests.support.week import LINKS, reactions

pytestmark = pytest.mark.long

START_MS = round(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1_000)
# Where contacts are few, each tick reads all of them.
SLOW_TICK_MS = 30 * 60_000
NEWS = "1117000000001"


def account_of(contacts: int, *, sent_ms: int, seed: int = 1, hours: float = 22) -> SimulatedAccount:
    """Old contacts who all get one campaign, and react to it as published, within some hours."""
    account, rng = SimulatedAccount(), random.Random(seed)
    account.put_campaign(Campaign(NEWS, "News", "SENT", sent_ms, sent_ms, sent_ms, LINKS, True))
    for number in range(contacts):
        at_ms = START_MS - 90 * DAY_MS
        contact = Contact(str(1_001 + number), f"c{number}@example.org", "", "", "ACTIVE", at_ms, at_ms)
        account.put_contact(contact)
        for row in reactions(rng, NEWS, contact, sent_ms):
            late_ms = sent_ms + round(hours * HOUR_MS) - row.inserted_ms
            account.put_row(row if late_ms > 0 else _moved(row, late_ms))
    return account


def _moved(row: Row, by_ms: int) -> Row:
    return replace(row, occurred_ms=row.occurred_ms + by_ms, inserted_ms=row.inserted_ms + by_ms)


@pytest.mark.timeout(900)
def test_a_mailing_to_20_000_contacts_is_published_within_the_day() -> None:
    """Every send, open, click and bounce, under 10,000 calls; then a whole sweep publishes nothing again."""
    account = account_of(20_000, sent_ms=START_MS + HOUR_MS)
    reader = VirtualReader(account, START_MS)
    reader.register_everybody()
    reader.trust_reports()
    with reader.server:
        reader.connect(reader.server.base_url)
        reader.run_until(START_MS + DAY_MS)
        assert set(reader.bus.arrived_ms) == {key_of_row(row.key) for row in account.rows()}
        assert max(reader.calls_by_day().values()) <= 9_000
        reader.store.contacts.make_due(reader.clock.now_ms())
        reader.run_until(START_MS + 4 * DAY_MS)
    assert all((of.synced_ms or 0) >= START_MS + DAY_MS for of in reader.store.contacts.outlines())
    assert reader.bus.repeated == 0
    assert reader.server.violations == []
    assert reader.server.max_calls_in_any_second() <= 4


def publish_all(reader: VirtualReader, days: float) -> None:
    """Go on until everything was read, then sweep once more."""
    reader.run_until(START_MS + round(days * DAY_MS))
    assert len(reader.bus.arrived_ms) == len(reader.account.rows())
    reader.store.contacts.make_due(reader.clock.now_ms())
    reader.run_until(START_MS + round((days + 0.5) * DAY_MS))
    assert len(reader.bus.arrived_ms) == len(reader.account.rows())
    assert reader.bus.repeated == 0


def modes(reader: VirtualReader) -> dict[str, Mode]:
    trust = reader.store.reports.trust()
    return {type_.report: trust.of(type_).mode for type_ in reader.types}


@pytest.mark.parametrize("side", [None, *Side])
@pytest.mark.parametrize("reports", [REPORTS, frozenset({"opens"})])
def test_stamps_that_are_shifted_from_the_first_day(side: Side | None, reports: frozenset[str]) -> None:
    """Every activity once. A type whose two sides differ stays on probation; on both sides it is trusted."""
    account = account_of(60, sent_ms=START_MS + HOUR_MS)
    switches = Switches(shift=Shift(side=side, reports=reports))
    reader = VirtualReader(account, START_MS, switches=switches, tick_ms=SLOW_TICK_MS)
    reader.register_everybody()
    publish_all(reader, 3)
    shown = {row.kind.report for row in account.rows()}
    for report, mode in modes(reader).items():
        is_different = side is not None and report in reports
        assert mode is (Mode.PROBATION if is_different or report not in shown else Mode.PUBLISH), report


@pytest.mark.parametrize("side", list(Side))
def test_stamps_that_are_shifted_from_one_day_on(side: Side) -> None:
    """Every activity once, under one of its stamps, and the type is switched off."""
    account = account_of(60, sent_ms=START_MS + HOUR_MS, hours=60)
    switches = Switches(shift=Shift(side=side, reports=frozenset({"opens"}), from_ms=START_MS + 3 * HOUR_MS))
    reader = VirtualReader(account, START_MS, switches=switches, tick_ms=SLOW_TICK_MS)
    reader.register_everybody()
    publish_all(reader, 4)
    assert modes(reader)["opens"] is Mode.OFF
    assert modes(reader)["sends"] is Mode.PUBLISH


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_clicks_whose_link_is_not_told_come_from_their_contacts(share: float) -> None:
    """With the URL that the contact's row has, and once."""
    account = account_of(300, sent_ms=START_MS + HOUR_MS)
    switches = Switches(missing_link_share=share)
    reader = VirtualReader(account, START_MS, switches=switches, tick_ms=SLOW_TICK_MS)
    reader.register_everybody()
    publish_all(reader, 2)
    assert any(row.kind is Kind.CLICK for row in account.rows())


def test_reports_that_are_refused_leave_all_to_the_contacts() -> None:
    """Nothing is lost, and few calls are spent on them."""
    account = account_of(100, sent_ms=START_MS + HOUR_MS)
    switches = Switches(campaign_reports_refused=True)
    reader = VirtualReader(account, START_MS, switches=switches, tick_ms=SLOW_TICK_MS)
    reader.register_everybody()
    publish_all(reader, 2)
    asked = [call for call in reader.server.calls if "/emailmarketing/campaigns/" in call.path]
    assert len(asked) < 400
    assert set(modes(reader).values()) == {Mode.PROBATION}


def test_a_first_load_while_a_campaign_goes_out() -> None:
    """Nobody is known at first. What reports bring before a contact's first walk comes once."""
    account = account_of(1_500, sent_ms=START_MS + 2 * TICK_MS)
    reader = VirtualReader(account, START_MS)
    publish_all(reader, 2)
