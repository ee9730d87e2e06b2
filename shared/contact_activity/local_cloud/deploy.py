"""Deploys the real template to the local AWS, without the SAM command line.

The layer is built by the same Makefile, but for the Python that runs the functions here.
"""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from contact_activity.local_cloud.emulator import PYTHON, REGION, REPOSITORY, Emulator, EmulatorError

DEPLOY_WITHIN_S = 120.0
BUILD_WITHIN_S = 300.0
_POLL_S = 0.05
_BUCKET = "artifacts"
_ZIP_TIME = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed template; `outputs` are its Outputs by name."""

    outputs: Mapping[str, str]


def deploy(
    emulator: Emulator, template_path: Path, *, stack_name: str, parameters: Mapping[str, str]
) -> Stack:
    """Create the stack, or update it; nothing happens to one that is the same already.

    `parameters` are the template's by name; `Local=true` is added. Raises `EmulatorError` with the
    reason when the code cannot be built or the stack cannot be had.
    """
    template = load_template(template_path)
    _upload_code(emulator, template, template_path.parent)
    request = {
        "StackName": stack_name,
        "TemplateBody": json.dumps(template),
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Parameters": [
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in ({"Local": "true"} | dict(parameters)).items()
        ],
    }
    cloudformation = emulator.client("cloudformation")
    try:
        _create_or_update(cloudformation, stack_name, request)
        return _wait(cloudformation, stack_name)
    except ClientError as error:
        raise EmulatorError(f"the stack {stack_name} was refused: {_message(error)}") from None


def load_template(path: Path) -> dict[str, Any]:
    """The template with its short forms (`!Ref X`) as the long ones (`{"Ref": "X"}`)."""
    loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), _TemplateLoader)  # noqa: S506
    return loaded


def build_layer(out_dir: Path, *, source: Path, variables: Mapping[str, str]) -> None:
    """Build the layer's content into a folder, through its Makefile with the given variables."""
    _make("build-SharedLayer", out_dir, source, variables)


def fetch_packages(source: Path, cache: Path) -> Path:
    """The folder of third-party packages for this machine; only its first call needs the network."""
    variables = host_variables()
    lock = (source / "requirements.txt").read_bytes() + json.dumps(dict(variables)).encode()
    folder = cache / f"packages-{hashlib.sha256(lock).hexdigest()[:32]}"
    if not folder.exists():
        cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as unfinished:
            _make("packages", Path(unfinished), source, variables)
            with contextlib.suppress(FileExistsError):
                (Path(unfinished) / "python").rename(folder)
    return folder


def _make(target: str, out_dir: Path, source: Path, variables: Mapping[str, str]) -> None:
    command = [
        *("make", "--silent", "--directory", str(source), target, f"ARTIFACTS_DIR={out_dir}"),
        *(f"{name}={value}" for name, value in variables.items()),
    ]
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")
    }
    try:
        subprocess.run(  # noqa: S603
            command, env=environment, check=True, capture_output=True, text=True, timeout=BUILD_WITHIN_S
        )
    except subprocess.CalledProcessError as error:
        raise EmulatorError(f"the layer cannot be built: {_cause(error.stderr)}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmulatorError(f"the layer cannot be built: {error}") from None


def host_variables() -> Mapping[str, str]:
    """What makes the layer fit the Python that runs the functions in the emulator."""
    configuration = (PYTHON.parents[1] / "pyvenv.cfg").read_text(encoding="utf-8")
    version = next(
        line.split("=")[1].strip() for line in configuration.splitlines() if line.startswith("version")
    )
    uv = REPOSITORY / ".venv" / "bin" / "uv"
    return {"PLATFORM": "", "PYVER": ".".join(version.split(".")[:2]), "UV": str(uv)}


class _TemplateLoader(yaml.SafeLoader):
    """Knows CloudFormation's short forms."""


def _long_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)  # type: ignore[arg-type]
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_TemplateLoader.add_multi_constructor("!", _long_form)


def _upload_code(emulator: Emulator, template: Mapping[str, Any], root: Path) -> None:
    """Put the zips into a bucket, and their place into the template."""
    s3 = emulator.client("s3")
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=_BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            handler = root / properties["CodeUri"] / "app.py"
            if not handler.is_file():
                raise EmulatorError(f"{handler} is missing")
            properties["CodeUri"] = _upload(s3, _zip([(handler, "app.py")]))
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = _upload(
                s3, _layer_zip(root / properties["ContentUri"], root / ".build")
            )


def _upload(s3: Any, content: bytes) -> Mapping[str, str]:
    key = f"{hashlib.sha256(content).hexdigest()}.zip"
    s3.put_object(Bucket=_BUCKET, Key=key, Body=content)
    return {"Bucket": _BUCKET, "Key": key}


def _layer_zip(source: Path, cache: Path) -> bytes:
    packages = fetch_packages(source, cache)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        build_layer(Path(folder), source=source, variables={"PACKAGES_FROM": str(packages)})
        return _zip((path, str(path.relative_to(folder))) for path in sorted(Path(folder).rglob("*")))


def _zip(files: Iterable[tuple[Path, str]]) -> bytes:
    """The same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, name in files:
            if path.is_file():
                archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _create_or_update(cloudformation: Any, stack_name: str, request: Mapping[str, Any]) -> None:
    status = _status(cloudformation, stack_name)
    if status is not None and status.endswith(("ROLLBACK_COMPLETE", "FAILED")) and "UPDATE" not in status:
        cloudformation.delete_stack(StackName=stack_name)
        _poll(lambda: _status(cloudformation, stack_name) in (None, "DELETE_COMPLETE"), stack_name)
        status = None
    if status in (None, "DELETE_COMPLETE"):
        cloudformation.create_stack(**request)
        return
    try:
        cloudformation.update_stack(**request)
    except ClientError as error:
        if "No updates" not in _message(error):
            raise


def _status(cloudformation: Any, stack_name: str) -> str | None:
    try:
        return str(cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]["StackStatus"])
    except ClientError:
        return None


def _wait(cloudformation: Any, stack_name: str) -> Stack:
    _poll(lambda: not str(_status(cloudformation, stack_name)).endswith("IN_PROGRESS"), stack_name)
    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    if stack["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        raise EmulatorError(
            f"the stack {stack_name} ended as {stack['StackStatus']}: {_reason(cloudformation, stack_name)}"
        )
    return Stack({output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])})


def _poll(is_done: Callable[[], bool], stack_name: str) -> None:
    deadline = time.monotonic() + DEPLOY_WITHIN_S
    while not is_done():
        if time.monotonic() > deadline:
            raise EmulatorError(f"the stack {stack_name} is not done after {DEPLOY_WITHIN_S:.0f} s")
        time.sleep(_POLL_S)


def _reason(cloudformation: Any, stack_name: str) -> str:
    """What the first resource that failed says; events come newest first."""
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    if not failed:
        return "no reason given"
    return f"{failed[-1]['LogicalResourceId']}: {failed[-1].get('ResourceStatusReason', 'no reason given')}"


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", error))


def _cause(text: str) -> str:
    """The first line that says what is wrong."""
    lines = [line for line in text.strip().splitlines() if line.strip() and not line.startswith("make")]
    return lines[0].strip() if lines else "no message"


if __name__ == "__main__":
    fetch_packages(REPOSITORY / "shared", REPOSITORY / ".build")
