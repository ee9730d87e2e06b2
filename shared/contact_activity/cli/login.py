"""`contact-activity login` and `contact-activity logout`: the tokens of the v3 API in a state folder."""

import argparse
import sys
import webbrowser
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from shlex import quote

from rich.console import Console

from contact_activity.cli.arguments import Commands, add_place, pasted_place, print_line
from contact_activity.cli.exit_status import EXIT_DONE
from contact_activity.clock import SystemClock
from contact_activity.constant_contact.oauth import authorization_server
from contact_activity.constant_contact.token_answers import DeviceCode
from contact_activity.operations.login import Login, code_login, device_login
from contact_activity.operations.login_place import REFRESH_UNGIVEN, LoginFolder, LoginPlace
from contact_activity.operations.loopback import redirect_uri
from contact_activity.operations.remedies import AS_HELP_SAYS
from contact_activity.operations.told_times import when
from contact_activity.ports import Clock
from contact_activity.run.program import program
from contact_activity.settings import Environment, read_client, read_settings
from contact_activity.state.credentials_file import CredentialsFile

_LOGIN = """\
Signs in to Constant Contact, for the v3 API, and stores the tokens in the state folder, or with --stack in
the secrets of a deployed stack. Each `run` with this folder, or that stack, uses and renews them. Without
--code it shows an address and a code, to be entered in any browser.
"""
_LOGIN_EPILOG = f"""\
what to do first, in Constant Contact's developer portal (once):
  1. open My Applications and click New Application;
  2. give it a name, and choose Device Flow (for --code: PKCE Flow, or Authorization Code Flow and Implicit
     Flow) and Rotating Refresh Tokens; click Create;
  3. click Edit and copy the API Key (Client ID). It is CONSTANT_CONTACT_CLIENT_ID, or --client-id;
  4. for --code add {redirect_uri()} as a Redirect URI. Of an Authorization Code Flow, click Generate
     Client Secret, and set CONSTANT_CONTACT_CLIENT_SECRET to it.

With --code and no way from the browser to this machine, paste the address that the browser is sent to.

With --stack these permissions are needed: cloudformation:DescribeStacks; secretsmanager:GetSecretValue and
PutSecretValue; dynamodb:GetItem and UpdateItem. Give a stack a login of its own: tokens that two places renew
are soon good for nothing.

examples:
  contact-activity login --client-id 2f1c...
  contact-activity login --client-id 2f1c... --stack contact-activity
  contact-activity login --code --no-browser --state /var/lib/contact-activity
"""


def add_login(commands: Commands) -> None:
    login = commands.add_parser(
        "login",
        help="sign in to Constant Contact, for the v3 API",
        description=_LOGIN,
        epilog=_LOGIN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    login.add_argument("--client-id", metavar="ID", help="the API key (Client ID) of the application")
    login.add_argument(
        "--code", action="store_true", help="sign in by a browser that comes back to this machine"
    )
    login.add_argument("--no-browser", action="store_true", help="open no browser")
    add_place(login)
    login.set_defaults(command=_login)


def add_logout(commands: Commands) -> None:
    logout = commands.add_parser(
        "logout",
        help="remove what login stored",
        description="Removes the tokens from the state folder, or from a stack, which then waits for others. "
        "Constant Contact is told nothing.",
    )
    add_place(logout)
    logout.set_defaults(command=_logout)


def _login(arguments: argparse.Namespace, environment: Environment, console: Console) -> int:
    clock = SystemClock()
    place, environment = _place(arguments, environment, clock)
    # So that a hint without --client-id can be pasted, after a login that was given one.
    client_id = None if environment.get("CONSTANT_CONTACT_CLIENT_ID", "").strip() else place.client_id()
    client = read_client(environment, arguments.client_id or client_id, login=f"{program()} login")
    settings = read_settings(environment, is_logged_in=True)
    server = authorization_server(settings, client, clock)
    # What would keep the tokens from being stored, or from being used, is told before anybody signs in.
    place.check()
    sign_in = _SignIn(console, opens_browser=not arguments.no_browser)
    if arguments.code:
        # No spinner: somebody may paste a line here.
        login = code_login(server, clock, sign_in.show_address, sys.stdin, command=_command(arguments))
    else:
        with _turning(console, "waiting until the code is entered"):
            login = device_login(server, clock, sign_in.show_code, command=_command(arguments))
    is_known = place.is_of_known_account(login, settings)
    with _turning(console, "storing the tokens"):
        place.save(login, client)
    _print_result(login, arguments)
    if not is_known:
        print_line(f"whether it is the account of {place.name} is not known yet: the next run looks")
    if not arguments.stack:
        _print_rivals(environment, Path(arguments.state))
    return EXIT_DONE


def _turning(console: Console, text: str) -> AbstractContextManager[object]:
    """What shows that this is at work, where it can be drawn."""
    return console.status(text) if console.is_interactive else nullcontext()


def _logout(arguments: argparse.Namespace, environment: Environment, _: Console) -> int:
    place, _environment = _place(arguments, environment, SystemClock())
    if place.remove():
        print_line(f"logged out: {place.name} holds no tokens any more")
    else:
        print_line(f"nothing to remove: {place.name} holds no login")
    return EXIT_DONE


def _place(
    arguments: argparse.Namespace, environment: Environment, clock: Clock
) -> tuple[LoginPlace, Environment]:
    """Return where the login is stored, and the settings that go with it."""
    if not arguments.stack:
        return LoginFolder(Path(arguments.state), clock), environment
    # Imported only here, since boto3 takes as long as an embedded run takes to start.
    from contact_activity.operations.stack_credential import stack_credential
    from contact_activity.operations.stack_login import LoginStack

    stack = stack_credential(arguments.stack, environment, clock)
    return LoginStack(stack), stack.environment


class _SignIn:
    """Shows the user where to sign in, and opens a browser there if that is wanted."""

    def __init__(self, console: Console, *, opens_browser: bool) -> None:
        self._console, self._opens_browser = console, opens_browser

    def show_code(self, device: DeviceCode) -> None:
        self._print(f"Open {device.uri} and enter the code {device.user_code}")
        if not self._console.is_interactive:
            # Nothing turns there to show that this is at work.
            self._print(f"waiting until the code is entered; it lives for {max(1, device.life_s // 60)} min")
        self._open(device.complete_uri or device.uri)

    def show_address(self, url: str) -> None:
        self._print(f"Open {url}")
        self._print("Then come back here, or paste the address that the browser is sent to:")
        self._open(url)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _open(self, url: str) -> None:
        if self._opens_browser:
            open_browser(url)


def open_browser(url: str) -> bool:
    """Open an address in a window of its own. Return whether there is a browser that has one."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # One of this class runs in the terminal, and takes it.
    return type(browser) is not webbrowser.GenericBrowser and browser.open(url)


def _command(arguments: argparse.Namespace, *, is_code: bool = False) -> str:
    """Return the command that begins this login again, or one with --code."""
    client_id = f" --client-id {quote(arguments.client_id)}" if arguments.client_id else ""
    options = " --code" * (arguments.code or is_code) + " --no-browser" * arguments.no_browser
    return f"{program()} login{client_id}{options}{pasted_place(arguments)}"


def _print_result(login: Login, arguments: argparse.Namespace) -> None:
    granted = login.granted
    if granted.refresh_token:
        print_line("logged in: the tokens are stored, and each run renews them")
    else:
        until = when(login.asked_ms + granted.life_ms, login.asked_ms)
        print_line(
            f"logged in until {until}: {REFRESH_UNGIVEN}. Run `{_command(arguments)}` again then, or "
            f"{_for_refresh(arguments)}"
        )


def _for_refresh(arguments: argparse.Namespace) -> str:
    """Return what brings a refresh token."""
    if arguments.code:
        return f"have Rotating Refresh Tokens in the portal, {AS_HELP_SAYS}"
    command = _command(arguments, is_code=True)
    return f"`{command}`, which brings one; the portal needs an application for it, {AS_HELP_SAYS}"


def _print_rivals(environment: Environment, state_dir: Path) -> None:
    """Name what the environment has that comes before this login."""
    access, refresh = "CONSTANT_CONTACT_ACCESS_TOKEN", "CONSTANT_CONTACT_REFRESH_TOKEN"
    given = {name: environment.get(name, "").strip() for name in (access, refresh)}
    client_id = environment.get("CONSTANT_CONTACT_CLIENT_ID", "").strip()
    if CredentialsFile(state_dir).read().has_taken(given[refresh], client_id):
        given.pop(refresh)
    for name, value in given.items():
        if value:
            print_line(f"{name} is set and comes before this login: unset it")
