"""What `warmstart run` shows: a line for each step while it runs, the metrics at the end."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from .verbs.state import Progress as Event


class Display:
    """main: False in all but one of several processes, which then show nothing."""

    def __init__(self, main: bool = True):
        self.main = main
        self.console = Console(stderr=True, quiet=not main)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
            console=self.console,
        )
        self.tasks: dict[str, int] = {}

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(self, *error) -> None:
        self.bars.stop()

    def update(self, event: Event) -> None:
        if event.step not in self.tasks:
            self.tasks[event.step] = self.bars.add_task(f"{event.step} ({event.verb})", total=event.total, loss="")
        shown = {} if event.loss is None else {"loss": f"loss {event.loss:.4f}"}
        task = self.tasks[event.step]
        total = max(event.total, int(self.bars.tasks[task].total or 1))
        self.bars.update(task, completed=event.done if event.loss is not None or not event.done else total,
                         total=total, **shown)  # fmt: skip

    def result(self, run) -> None:
        if not self.main:
            return
        table = Table("metric", "value")
        for name, value in run.metrics.items():
            table.add_row(name, f"{value:.4f}")
        Console().print(table if run.metrics else "done; nothing was measured: no labels, or nothing that answers")
