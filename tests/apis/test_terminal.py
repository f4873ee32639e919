import io

from rich.console import Console
from rich.progress import TimeElapsedColumn, TimeRemainingColumn

from mmspike.apis.terminal import progress_bar, tool_console


def test_a_file_has_the_width_asked_for_unless_the_user_says_another(monkeypatch):
    monkeypatch.delenv('COLUMNS', raising=False)
    assert tool_console(file_width=130).width == 130
    monkeypatch.setenv('COLUMNS', '60')
    assert tool_console(file_width=130).width == 60
    assert tool_console().width == 60


def test_a_bar_counts_and_disappears():
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, width=80, color_system=None)
    with progress_bar(console) as progress:
        task = progress.add_task('images', total=3)
        progress.advance(task, 2)
        progress.refresh()
    assert '2/3' in terminal.getvalue()
    assert terminal.getvalue().endswith('\x1b[2K')  # the line is erased


def test_the_clock_is_the_last_column():
    assert isinstance(progress_bar().columns[-1], TimeRemainingColumn)
    clock = TimeElapsedColumn()
    assert progress_bar(clock=clock).columns[-1] is clock
    assert progress_bar(disable=True).disable
