"""Progress of the demo and its remaining time: bars in a terminal, otherwise lines."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

# The first seconds say little about the speed of a machine. So many seconds at the expected speed
# are added to the measured ones.
PRIOR = 20.0
# Seconds between two lines where there is no terminal.
BETWEEN_LINES = 25.0
# How much longer one thread takes than two: an epoch of the digits, 11.4 s and 9.7 s, nothing else
# running.
ONE_THREAD = 1.2


class Estimate:
    """Time left for steps that come one after the other.

    Each step has an expected time. The measured speed of this machine corrects all times, from the
    first step on.

    Args:
        clock: Seconds from any origin.
        slowness: How many times longer than expected steps take, before anything was measured.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, slowness: float = 1.0) -> None:
        self._clock = clock
        self._prior = PRIOR * slowness
        self._ahead: dict[str, float] = {}
        # Of finished steps: seconds that they took, and that were expected.
        self._took = self._expected_of_done = 0.0
        self._left_later = 0.0

    def expect(self, step: str, seconds: float) -> None:
        """Announce a step that takes ``seconds`` at the expected speed."""
        self._ahead[step] = seconds

    def skip(self, step: str) -> None:
        """Drop a step that was announced, if it was."""
        self._ahead.pop(step, None)

    def begin(self, step: str) -> None:
        """Begin an announced step."""
        self._expected = self._ahead.pop(step)
        self._began, self._share = self._clock(), 0.0
        self._slowness = (self._took + self._prior) / (self._expected_of_done + PRIOR)
        self._correct(self._began, 0.0)

    def advance(self, share: float) -> None:
        """Report the share of the step that is done, 0 to 1; the same one changes nothing."""
        if share != self._share:
            self._share = share
            self._correct(self._clock(), share * self._expected)

    def _correct(self, now: float, done: float) -> None:
        """Estimate the end of the step, and the time of the later ones.

        Args:
            now: The time.
            done: Expected seconds of the part that is done.
        """
        took = now - self._began
        pace = (took + PRIOR * self._slowness) / (done + PRIOR)
        self._end = now + (self._expected - done) * pace
        overall = (self._took + took + self._prior) / (self._expected_of_done + done + PRIOR)
        self._left_later = sum(self._ahead.values()) * (overall if done else self._slowness)

    def finish(self) -> None:
        """The step is done."""
        self._took += self._clock() - self._began
        self._expected_of_done += self._expected

    @property
    def step_left(self) -> float:
        """Seconds left for the step. They count down from one :meth:`advance` to the next."""
        return max(0.0, self._end - self._clock())

    @property
    def all_left(self) -> float:
        """Seconds left for the step and all after it."""
        return self.step_left + self._left_later

    @property
    def share(self) -> float:
        """Share of the time of all steps that has passed, 0 to 1."""
        passed = self._took + self._clock() - self._began
        return passed / (passed + self.all_left) if passed else 0.0


def in_minutes(seconds: float) -> str:
    """``2:05`` or, from an hour on, ``1:02:05``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'


class Steps:
    """Shows each step while it runs.

    Args:
        console: A terminal gets two bars, of the step and of all; anything else gets a line at
            least every 30 seconds.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        one = torch.get_num_threads() == 1
        self.estimate = Estimate(slowness=ONE_THREAD if one else 1.0)

    def expect(self, task: str, seconds: dict[str, float]) -> None:
        """Announce what a task does, and how many seconds of it are expected."""
        for activity, expected in seconds.items():
            self.estimate.expect(f'{task}: {activity}', expected)

    def skip(self, task: str, activity: str) -> None:
        """Drop an announced step that is not necessary."""
        self.estimate.skip(f'{task}: {activity}')

    @contextmanager
    def step(self, task: str, activity: str) -> Iterator[Callable[[float, str], None]]:
        """Run an announced step.

        Gives:
            A function to call with the share that is done (0 to 1), and the position in words.
        """
        name = f'{task}: {activity}'
        self.estimate.begin(name)
        show = _bars if self.console.is_terminal else _lines
        with show(self.console, self.estimate, name) as display:

            def update(share: float, position: str = '') -> None:
                self.estimate.advance(share)
                display(share, position)

            yield update
        self.estimate.finish()


class _TimeLeft(ProgressColumn):
    """The time that a row's field ``left`` returns."""

    def render(self, task: Task) -> Text:
        return Text(f'{in_minutes(task.fields["left"]())} left')


class _Share(BarColumn):
    """A bar whose row may have a function ``share`` for what is done."""

    def render(self, task: Task) -> object:
        if 'share' in task.fields:
            task.completed = task.fields['share']()
        return super().render(task)


@contextmanager
def _bars(
    console: Console, estimate: Estimate, name: str
) -> Iterator[Callable[[float, str], None]]:
    """Two rows of at most 80 characters; they disappear at the end."""
    activity = name.partition(': ')[2]
    columns = (
        TextColumn('{task.description}'),
        _Share(bar_width=12),
        TextColumn('{task.fields[position]}'),
        _TimeLeft(),
    )
    # Other output keeps its destination; rich would redirect it to the terminal.
    with Progress(
        *columns, console=console, transient=True, refresh_per_second=4,
        redirect_stdout=False, redirect_stderr=False,
    ) as rows:  # fmt: skip
        row = rows.add_task(
            activity, total=1.0, position='starting', left=lambda: estimate.step_left
        )
        rows.add_task(
            'whole demo', total=1.0, position='', left=lambda: estimate.all_left,
            share=lambda: estimate.share,
        )  # fmt: skip
        yield lambda share, position: rows.update(row, completed=share, position=position)


@contextmanager
def _lines(
    console: Console, estimate: Estimate, name: str
) -> Iterator[Callable[[float, str], None]]:
    """A line at the beginning, and then one at regular intervals."""
    where, stop = ['starting'], threading.Event()

    def say() -> None:
        left = f'{in_minutes(estimate.step_left)} left, all {in_minutes(estimate.all_left)}'
        console.print(f'{name}, {where[0]}; {left}', soft_wrap=True)

    def repeat() -> None:
        while not stop.wait(BETWEEN_LINES):
            say()

    def display(share: float, position: str) -> None:
        where[0] = position or f'{share:.0%}'

    say()
    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield display
    finally:
        stop.set()
        thread.join()
