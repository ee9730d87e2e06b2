"""The engine of the local cloud: the real template in an AWS emulator, with its functions doing the work.

This process deploys the stack, invokes the dispatcher and reads the events. It handles no contact.
"""

import json
import logging
from contextlib import ExitStack
from pathlib import Path

from contact_activity.domain.times import iso
from contact_activity.errors import FatalError, RetryError, WaitError
from contact_activity.local_cloud.deploy import deploy
from contact_activity.local_cloud.deployed_system import DeployedSystem
from contact_activity.local_cloud.emulator import Emulator
from contact_activity.local_cloud.event_reader import EventReader, subscribe
from contact_activity.local_cloud.template import STACK_NAME, TEMPLATE
from contact_activity.local_cloud.tick_loop import CloudTickLoop
from contact_activity.run.connection_watch import (
    MAX_CONNECTION_TRIES,
    MAX_TRYING_MS,
    ConnectionWatch,
    WatchedLimiter,
    watched_source,
)
from contact_activity.run.errors import RunError, UsageError
from contact_activity.run.events_file import opened_events
from contact_activity.run.options import Account, RunOptions
from contact_activity.run.progress import Display
from contact_activity.run.state_folder import locked
from contact_activity.run.summary import Summary
from contact_activity.settings import Credentials, Settings, SettingsError

# The template takes no shorter schedule.
MIN_SCHEDULE_MINUTES = 2

_log = logging.getLogger(__name__)


def run_cloud(account: Account, options: RunOptions, display: Display) -> Summary:
    """Deploy, then run until nothing is due, or tick every `options.every_ms` until interrupted.

    Return the summary. Raises `RunError` or `SettingsError`.
    """
    _check_proxy(account.settings)
    if not isinstance(account.credentials, Credentials):
        raise UsageError("--engine cloud does not read v3 yet: use the embedded engine, or credentials of v2")
    with ExitStack() as stack:
        stack.enter_context(locked(options.state_dir))
        sink = stack.enter_context(
            opened_events(options.events, is_copied_to_stdout=options.is_copied_to_stdout)
        )
        display.step("starting the local AWS")
        name = "cloud-simulated" if account.is_simulated else "cloud"
        emulator = stack.enter_context(Emulator(options.state_dir / name))
        display.step("deploying template.yaml")
        deployed = deploy(
            emulator, TEMPLATE, stack_name=STACK_NAME, parameters=_parameters(account.settings, options)
        )
        _put_secret(emulator, deployed.outputs["SecretArn"], account)
        queue_url = subscribe(emulator, deployed.outputs["EventBusName"])
        system = DeployedSystem(emulator, deployed.outputs, account.settings.limits)
        if options.is_one_time:
            check_connection(account, system, options.state_dir)
        reader = EventReader(emulator.client("sqs"), queue_url, sink)
        loop = CloudTickLoop(system, reader, options, display)
        return loop.run_once() if options.is_one_time else loop.run_every()


def check_connection(account: Account, system: DeployedSystem, state_dir: Path) -> None:
    """Return once the API answers a call, whatever the answer is. Makes no call during a pause.

    Raises `RunError` with what to check if no call reaches the API. The functions would try for minutes.
    """
    clock, store = system.clock, system.store
    if store.pauses.get().active(clock.now_ms()):
        return
    watch = ConnectionWatch(clock, _log.warning, is_one_time=True)
    limiter = WatchedLimiter(store.limiter, watch)
    source = watched_source(account, limiter, watch, state_dir, connections=1)
    for _ in range(MAX_CONNECTION_TRIES):
        try:
            source.probe(deadline_ms=clock.monotonic_ms() + MAX_TRYING_MS)
        except RetryError:
            continue
        except (WaitError, FatalError):
            pass
        break
    if watch.has_given_up:
        raise RunError(str(watch.what_to_check()))


def _check_proxy(settings: Settings) -> None:
    if settings.proxy and "@" in settings.proxy:
        raise SettingsError(
            "CONSTANT_CONTACT_PROXY holds a user name: the functions' environment is no place for a "
            "password, use the embedded engine"
        )


def _parameters(settings: Settings, options: RunOptions) -> dict[str, str]:
    minutes = max(MIN_SCHEDULE_MINUTES, options.tick_ms // 60_000)
    return {
        "ConstantContactBaseUrl": settings.base_url,
        "ConstantContactProxy": settings.proxy or "",
        "ConstantContactCaBundle": settings.ca_bundle or "",
        "CallsPerSecond": f"{settings.calls_per_second:g}",
        "CallsPerDay": str(settings.calls_per_day),
        "QuotaShare": f"{settings.quota_share:g}",
        "Account": settings.account,
        "Reports": ",".join(settings.reports),
        "StartDate": "" if settings.start_ms is None else iso(settings.start_ms),
        "OverlapHours": str(settings.overlap_h),
        "RememberedActivities": str(settings.remembered_min),
        "CampaignReports": "auto" if settings.has_campaign_reports else "off",
        "CampaignLookbackDays": str(settings.campaign_lookback_days),
        "EmailAddresses": settings.email_addresses.value,
        "ScheduleMinutes": str(minutes),
        "Local": "true",
    }


def _put_secret(emulator: Emulator, secret_id: str, account: Account) -> None:
    credentials = account.credentials
    assert isinstance(credentials, Credentials)  # noqa: S101  checked at the start
    value = {"api_key": credentials.api_key, "access_token": credentials.access_token}
    emulator.client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=json.dumps(value))
