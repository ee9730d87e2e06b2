"""What a run on the local cloud prints, to look at its stack."""

from io import StringIO

import pytest
from rich.console import Console

from contact_activity.cli.run_place import print_stack_place


@pytest.mark.parametrize("proxy", ["", "http://proxy.example:3128"])
def test_its_lines_lead_past_a_proxy(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """It would be asked for this machine's own address."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
    console = Console(file=StringIO())
    print_stack_place(console, "http://127.0.0.1:4566", "us-east-1", "test", "a-stack")
    assert isinstance(console.file, StringIO)
    lines = console.file.getvalue().splitlines()
    leading = [line for line in lines if line.startswith("export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1")]
    assert len(leading) == bool(proxy)
    assert lines.index("contact-activity status --stack a-stack") == len(lines) - 2
