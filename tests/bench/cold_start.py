"""What a cold start imports, against what boto3 and requests alone would; and the size of the layer."""

import tempfile
import zipfile
from pathlib import Path

from contact_activity.local_cloud.deploy import build_layer, fetch_packages
from tests.bench.measure import ROOT, Cost, python, ratio, run, spread, table

HANDLERS = tuple(sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py")))
BASE = "import boto3, requests"
IN_LAMBDA = {"LAMBDA_TASK_ROOT": "/var/task", "AWS_REGION": "eu-west-1"}


def bench(rounds: int) -> None:
    programs = {"boto3 and requests": (BASE, IN_LAMBDA)}
    for name in HANDLERS:
        programs[name] = (f"import functions.{name}.app", IN_LAMBDA)
    costs: dict[str, list[Cost]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, (code, environment) in programs.items():
            costs[name].append(run(python("-c", code), environment))
    base = costs["boto3 and requests"]
    rows = [
        [
            name,
            spread(taken[1:], lambda cost: cost.cpu_s, 1_000, 0),
            spread(taken[1:], lambda cost: cost.wall_s, 1_000, 0),
            f"{ratio(taken[1:], base[1:], lambda cost: cost.cpu_s):.2f}",
        ]
        for name, taken in costs.items()
    ]
    title = "Import in a new process, interpreter included; median (least-most)"
    table(title, ["", "CPU ms", "wall ms", "CPU, times boto3 and requests"], rows)
    unzipped, zipped = layer_bytes()
    table("Layer", ["", "MB"], [["zipped", f"{zipped / 1e6:.2f}"], ["unzipped", f"{unzipped / 1e6:.2f}"]])


def layer_bytes() -> tuple[int, int]:
    """Unzipped and zipped, as the deployed layer's content is for this platform."""
    source = ROOT / "shared"
    packages = fetch_packages(source, ROOT / ".build")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as sink:
        build_layer(Path(folder), source=source, variables={"PACKAGES_FROM": str(packages)})
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.write(path, path.relative_to(folder))
        return sum(path.stat().st_size for path in files), sink.tell()
