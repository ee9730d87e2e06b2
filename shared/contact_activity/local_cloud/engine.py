"""The engine of the local cloud: the real template in an AWS emulator, with its functions doing the work.

This process deploys the stack, invokes the dispatcher and reads the events. It handles no contact.
"""

import json
import logging
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from contact_activity.aws.account import DynamoAccount
from contact_activity.aws.table import Table
from contact_activity.clock import SystemClock
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
from contact_activity.run.errors import RunError
from contact_activity.run.events_file import opened_events
from contact_activity.run.options import Account, RunOptions
from contact_activity.run.progress import Display
from contact_activity.run.sinks import ShownSink
from contact_activity.run.state_folder import locked
from contact_activity.run.summary import Summary
from contact_activity.run.tokens import keeps_tokens, take_given, tokens_at_rest
from contact_activity.settings import Settings, SettingsError, V3Credentials, Version

# The template takes no shorter schedule.
MIN_SCHEDULE_MINUTES = 2

_log = logging.getLogger(__name__)


def run_cloud(account: Account, options: RunOptions, display: Display) -> Summary:
    """Deploy, then run until nothing is due, or tick every `options.every_ms` until interrupted.

    Return the summary. Raises `RunError` or `SettingsError`.
    """
    _check_proxy(account.settings)
    with ExitStack() as stack:
        stack.enter_context(locked(options.state_dir))
        sink = stack.enter_context(
            opened_events(options.events, is_copied_to_stdout=options.is_copied_to_stdout)
        )
        display.step("starting the local AWS")
        tokens = stack.enter_context(ExitStack())
        emulator = stack.enter_context(Emulator(options.state_dir / _folder_name(account)))
        if keeps_tokens(account):
            # No function may be stopped between a refresh token that it sent and the answer.
            stack.callback(lambda: tokens.enter_context(tokens_at_rest(options.state_dir)))
            take_given(options.state_dir, account, SystemClock())
        display.step("deploying template.yaml")
        deployed = deploy(emulator, TEMPLATE, stack_name=STACK_NAME, parameters=_parameters(account, options))
        _keep_to_version(emulator, deployed.outputs["TableName"], account.settings.api_version)
        _put_secret(emulator, deployed.outputs["SecretArn"], account)
        queue_url = subscribe(emulator, deployed.outputs["EventBusName"])
        system = DeployedSystem(emulator, deployed.outputs, account.settings.limits)
        watch = ConnectionWatch(system.clock, _log.warning, is_one_time=options.is_one_time)
        if options.is_one_time:
            check_connection(account, system, options.state_dir, watch)
        reader = EventReader(emulator.client("sqs"), queue_url, ShownSink(sink, display.published))
        loop = CloudTickLoop(system, reader, options, display, watch)
        if not options.is_one_time:
            loop.run_every()
        summary = loop.run_once()
        if options.hold:
            options.hold(summary, emulator.endpoint_url, reader.drain)
        return summary


def check_connection(
    account: Account, system: DeployedSystem, state_dir: Path, watch: ConnectionWatch
) -> None:
    """Return once the API answers a call, whatever the answer is. Makes no call during a pause.

    Raises `RunError` with what to check if no call reaches the API. The functions would try for minutes.
    """
    clock, store = system.clock, system.store
    if store.pauses.get().active(clock.now_ms()):
        return
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


def _folder_name(account: Account) -> str:
    """Where the emulator keeps its state: apart for the simulated account, which has other ids in v3."""
    if not account.is_simulated:
        return "cloud"
    return "cloud-simulated-v3" if account.settings.api_version is Version.V3 else "cloud-simulated"


def _keep_to_version(emulator: Emulator, table_name: str, version: Version) -> None:
    try:
        DynamoAccount(Table(emulator.client("dynamodb"), table_name)).keep_to_version(version)
    except SettingsError:
        raise SettingsError(
            "--state holds what was read from the other version of the API, and "
            f"{version.value} has other ids: give another --state"
        ) from None


def _parameters(account: Account, options: RunOptions) -> dict[str, str]:
    settings, credentials = account.settings, account.credentials
    minutes = max(MIN_SCHEDULE_MINUTES, options.tick_ms // 60_000)
    client_id = credentials.client_id if isinstance(credentials, V3Credentials) else None
    return {
        "ConstantContactApiVersion": settings.api_version.value,
        "ConstantContactClientId": client_id or "",
        "ConstantContactTokenUrl": settings.token_url,
        "LocalCredentialsFolder": str(options.state_dir.resolve()) if keeps_tokens(account) else "",
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
    """Put in the credential. The tokens that are renewed are in the state folder, which outlives it."""
    given = asdict(account.credentials)
    given.pop("refresh_token", None)
    value = {name: text for name, text in given.items() if text}
    emulator.client("secretsmanager").put_secret_value(SecretId=secret_id, SecretString=json.dumps(value))
