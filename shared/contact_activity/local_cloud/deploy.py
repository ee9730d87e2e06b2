"""Deploys the real template to the local AWS, without the SAM command line."""

import contextlib
import hashlib
import io
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from contact_activity.local_cloud.emulator import REGION, Emulator, EmulatorError
from contact_activity.local_cloud.layer import build_layer, fetch_packages
from contact_activity.local_cloud.template import load_template

MAX_DEPLOY_S = 120.0
_POLL_S = 0.05
_BUCKET = "artifacts"
_ZIP_TIME = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployed template. `outputs` are the template's Outputs by name."""

    outputs: Mapping[str, str]


def deploy(
    emulator: Emulator, template_path: Path, *, stack_name: str, parameters: Mapping[str, str]
) -> Stack:
    """Create the stack, or update it if anything changed.

    `parameters` are the template's by name; `Local=true` is added. Raises `EmulatorError` with the
    reason if the code cannot be built or the stack cannot be created or updated.
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


def _upload_code(emulator: Emulator, template: Mapping[str, Any], root: Path) -> None:
    """Upload the zip files to a bucket, and write their keys into the template."""
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
    """Return a zip file. Equal files give equal bytes, so that an update sees that nothing changed."""
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
    deadline_s = time.monotonic() + MAX_DEPLOY_S
    while not is_done():
        if time.monotonic() > deadline_s:
            raise EmulatorError(f"the stack {stack_name} is not done after {MAX_DEPLOY_S:.0f} s")
        time.sleep(_POLL_S)


def _reason(cloudformation: Any, stack_name: str) -> str:
    """Return why the first resource failed. The events come newest first."""
    events = cloudformation.describe_stack_events(StackName=stack_name)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    if not failed:
        return "no reason given"
    return f"{failed[-1]['LogicalResourceId']}: {failed[-1].get('ResourceStatusReason', 'no reason given')}"


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", error))
