"""What a command tells is printed as it is."""

from io import StringIO

from rich.table import Table

from contact_activity.cli.plain_console import plain_console

TEXTS = ("Events: /var/a[bold]c/events.jsonl", "a closing tag [/b] of nothing", "a:bug:c")


def test_no_text_is_markup() -> None:
    """Neither a line nor the cell of a table."""
    told = StringIO()
    console = plain_console(file=told, width=80)
    table = Table(box=None, pad_edge=False, show_header=False)
    for text in TEXTS:
        console.print(text, highlight=False, soft_wrap=True)
        table.add_row(text)
    console.print(table)
    assert [line.rstrip() for line in told.getvalue().splitlines()] == [*TEXTS, *TEXTS]
