"""Tables on the terminal; without colours if it is not one."""

from rich import box
from rich.console import Console
from rich.table import Table

WIDEST = 200  # a file cuts no cell; the tables take the width that they need


def show(found: Table, *remarks: str) -> None:
    """Print the table, and the remarks below it."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDEST, no_color=True)
        found.box = box.ASCII2
    console.print(found)
    for remark in remarks:
        console.print(remark, highlight=False, soft_wrap=True)
