"""Names neuron layers that never fire while a model trains."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmspike.checks import check_integer
from mmspike.recorders.firing_rates import FiringRateRecorder
from mmspike.registry import HOOKS

# How many layers a message names.
NAMED = 10


@HOOKS.register_module()
class SilentLayersHook(Hook):
    """Warn of layers of neurons that have not fired for some iterations of training.

    A silent layer passes on zeros: layers behind it learn from biases alone, and layers in front of
    it have a small gradient or none. The loss then falls hardly or not at all, without
    any other sign. The warning names the layers and a remedy.

    Spikes are counted in ``num_iters`` iterations in a row and at no other time. In distributed
    training each process counts its own batches, and the log shows those of the first.

    Args:
        begin: Count from this iteration on; earlier, layers may still wake up.
        num_iters: Number of iterations in a row to count.
        interval: Count again every so many iterations; None counts once.

    Raises:
        TypeError, ValueError: An option is no positive integer (``begin`` may be 0), or
            ``interval`` is smaller than ``num_iters``.
    """

    priority = 'NORMAL'

    def __init__(
        self, *, begin: int = 100, num_iters: int = 5, interval: int | None = None
    ) -> None:
        self.begin = check_integer('begin', begin, at_least=0)
        self.num_iters = check_integer('num_iters', num_iters, at_least=1)
        if interval is not None:
            check_integer('interval', interval, at_least=num_iters)
        self.interval = interval
        self._recorder: FiringRateRecorder | None = None

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Begin to count, if it is time to."""
        if self._place(runner.iter) == 0:
            self._stop()
            model = runner.model.module if is_model_wrapper(runner.model) else runner.model
            self._recorder = FiringRateRecorder(model)
            self._recorder.__enter__()

    def after_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Check the counts at the end of an interval."""
        if self._recorder is None or self._place(runner.iter) != self.num_iters - 1:
            return
        ran = [rate for rate in self._recorder.rates() if rate.outputs]
        self._stop()
        silent = [rate.name for rate in ran if rate.spikes == 0]
        if silent:
            runner.logger.warning(self._message(silent, len(ran)))

    def after_run(self, runner: Runner) -> None:
        """Remove all hooks."""
        self._stop()

    def _place(self, iteration: int) -> int:
        """Index of a counted iteration, from 0; negative before the first."""
        since = iteration - self.begin
        return since if self.interval is None or since < 0 else since % self.interval

    def _stop(self) -> None:
        if self._recorder is not None:
            self._recorder.__exit__()
            self._recorder = None

    def _message(self, silent: list[str], count: int) -> str:
        others = len(silent) - NAMED
        names = ', '.join(silent[:NAMED]) + (f' and {others} others' if others > 0 else '')
        return (
            f'{len(silent)} of {count} neuron layers did not fire in the last {self.num_iters} '
            f'iterations: {names}. Layers behind them cannot learn from the input. What helps: a '
            'norm in front of the neurons; LIF with decay_input=False, or a lower threshold; '
            'integer neurons (SFA, ILIF); a lower learning rate, if the layers fired before'
        )
