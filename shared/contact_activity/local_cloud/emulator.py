"""A local AWS: the emulator as a child process on this machine's loopback interface.

It takes nothing from the user's AWS configuration, and its credentials are good for nothing else.
"""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import boto3
import botocore.session
from botocore.config import Config

from contact_activity.run.options import RunError

REPOSITORY = Path(__file__).parents[3]
PYTHON = REPOSITORY / ".venv-cloud" / "bin" / "python"
REGION = "eu-west-1"
# The emulator's administrator: with AUTH on, anybody else needs a policy.
ACCESS_KEY = "test"

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 20.0
_POLL_S = 0.05
# What the emulator and the functions in it may see of the environment: never the user's AWS settings.
_PASSED_ON = ("PATH", "LANG", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
_PASSED_ON_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


class EmulatorError(RunError):
    """One line: what went wrong with the local AWS, and where to look or what to run."""


class Emulator:
    """Runs from `start` (or entering) to `stop` (or leaving); ends also when this process is killed.

    `state_dir` holds its state and its log. State is kept over a `stop`; after anything else the
    next start is afresh, as `is_restored` tells. One at a time on a folder. Raises `EmulatorError`.
    """

    def __init__(self, state_dir: Path, port: int = 0, *, python: Path = PYTHON) -> None:
        self._state_dir = state_dir.absolute()
        self._python = python
        self._wanted_port = port
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.is_restored = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Of the running emulator; its children are the functions."""
        assert self._process  # noqa: S101
        return self._process.pid

    @property
    def log_path(self) -> Path:
        return self._state_dir / "emulator.log"

    def client(self, service: str) -> Any:
        return local_client(service, self.endpoint_url)

    def start(self) -> None:
        """Return when it answers."""
        if not self._python.exists():
            raise EmulatorError("the local AWS is not set up: run `make setup`")
        self._prepare_state()
        try:
            with _listen(self._wanted_port) as listening, self.log_path.open("wb") as log:
                self._port = listening.getsockname()[1]
                self._process = self._spawn(listening, log)
            self._wait_until_ready()
        except BaseException:
            self._kill()
            raise

    def stop(self) -> None:
        """Save the state and end; what does not end in time is killed, and the state is lost."""
        try:
            if self._process and self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(STOP_WITHIN_S)
        finally:
            self._kill()

    def _prepare_state(self) -> None:
        """Keep what was closed cleanly, and nothing else: services are saved one file after another."""
        self.is_restored = self._closed_cleanly.exists()
        self._closed_cleanly.unlink(missing_ok=True)
        shutil.rmtree(self._folder("tmp"), ignore_errors=True)
        if not self.is_restored:
            shutil.rmtree(self._folder("services"), ignore_errors=True)
            shutil.rmtree(self._folder("s3"), ignore_errors=True)
        # The state holds the credentials that a secret holds.
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("tmp", "services", "s3"):
            self._folder(name).mkdir(mode=0o700, exist_ok=True)

    @property
    def _closed_cleanly(self) -> Path:
        return self._state_dir / "closed-cleanly"

    def _folder(self, name: str) -> Path:
        return self._state_dir / name

    def _spawn(self, listening: socket.socket, log: IO[bytes]) -> subprocess.Popen[bytes]:
        script = Path(__file__).with_name("emulator_main.py")
        return subprocess.Popen(  # noqa: S603
            [self._python, script, str(listening.fileno()), self._closed_cleanly],
            env=self._environment(),
            cwd=self._state_dir,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listening.fileno()],
            # Its own process group: Ctrl-C is for us alone, and the functions can be ended with it.
            start_new_session=True,
        )

    def _environment(self) -> Mapping[str, str]:
        passed_on = {
            name: os.environ[name] for name in _PASSED_ON + _PASSED_ON_CERTIFICATES if name in os.environ
        }
        return passed_on | {
            # A queue's stored address holds this port, so it must be the same after a restart. It is a
            # name only: calls go to the endpoint.
            "GATEWAY_PORT": "4566",
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AUTH": "true",
            "MINISTACK_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "LOG_LEVEL": "WARNING",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self._folder("services")),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self._folder("s3")),
            "TMPDIR": str(self._folder("tmp")),
            "HOME": str(self._folder("tmp")),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._is_ready():
            if self._process is None or self._process.poll() is not None:
                raise EmulatorError(f"the local AWS ended at its start, see {self.log_path}")
            if time.monotonic() > deadline:
                raise EmulatorError(f"the local AWS does not answer, see {self.log_path}")
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        try:
            connection.request("GET", "/_ministack/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _kill(self) -> None:
        """End what is left of the process group: also functions that outlive the emulator."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin:
            process.stdin.close()


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise EmulatorError(f"port {port} of this machine cannot be used: {error.strerror}") from None


def local_client(service: str, endpoint_url: str) -> Any:
    """A boto3 client of a local AWS, whatever the user's AWS settings are."""
    return _isolated_session().client(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=ACCESS_KEY,
        config=Config(
            proxies={}, retries={"mode": "standard", "total_max_attempts": 3}, use_fips_endpoint=False
        ),
    )


def _isolated_session() -> boto3.Session:
    nothing = (None, None, os.devnull, None)
    session = botocore.session.Session(
        {"profile": (None, None, None, None), "config_file": nothing, "credentials_file": nothing}
    )
    return boto3.Session(botocore_session=session)
