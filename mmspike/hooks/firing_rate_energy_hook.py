"""Firing rates and energy of evaluations, among the metrics and as a report."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmspike.energy import (
    CostTable,
    EnergyCounter,
    EnergyCounts,
    EnergyReport,
    get_costs,
    write_report,
)
from mmspike.energy.origin import UNKNOWN, Origin, sha256
from mmspike.neurons.base import check_number
from mmspike.registry import HOOKS


@HOOKS.register_module()
class FiringRateEnergyHook(Hook):
    """Count the operations of the model in validation and test, and if asked in training.

    Three numbers appear among the metrics, wherever mmengine shows them (terminal, JSON,
    visualiser), with ``val/``, ``test/`` or ``train/`` before them:

    - ``spikes/rate``: spikes per neuron and time step, the mean over all neurons,
    - ``energy/sops_g``: synaptic operations (SOPs) per image, in 10^9,
    - ``energy/mj``: energy per image in millijoule (mJ), from exact SOPs.

    Each evaluation writes a report to ``<work_dir>/<timestamp>/energy/`` (see
    :func:`mmspike.energy.write_report`), in the place of that of the evaluation before, and
    warns of neuron layers that are dead or saturated. Several processes add up their counts.
    The hook changes no predictions, losses or weights.

    Args:
        sample_interval: Count every n-th batch of an evaluation only.
        interval: Count the batch of every n-th iteration in training; None for none.
        costs: Table of costs, see :func:`mmspike.energy.get_costs`.
        write: Whether to write reports.

    Raises:
        TypeError, ValueError: An option is not acceptable.
    """

    # Before LoggerHook, which shows what is among the metrics by then.
    priority = 'NORMAL'

    def __init__(
        self,
        sample_interval: int = 1,
        interval: int | None = None,
        costs: str | dict | CostTable = '45nm',
        write: bool = True,
    ) -> None:
        for name, value in (('sample_interval', sample_interval), ('interval', interval)):
            if value is None and name == 'interval':
                continue
            if not isinstance(value, int):
                raise TypeError(f'{name} must be an int, got {value!r} ({type(value).__name__})')
            check_number(name, value, at_least=1)
        self.sample_interval = sample_interval
        self.interval = interval
        self.costs = get_costs(costs)
        self.write = write
        self._counter: EnergyCounter | None = None
        self._training: EnergyCounter | None = None
        self._running: EnergyCounter | None = None

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._counter = EnergyCounter(_unwrapped(runner))

    def before_test_epoch(self, runner: Runner) -> None:
        """Begin to count."""
        self._counter = EnergyCounter(_unwrapped(runner))

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Count this batch, if it is one of the n-th."""
        if batch_idx % self.sample_interval == 0:
            self._open(cast(EnergyCounter, self._counter))

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Count this batch, if it is one of the n-th."""
        if batch_idx % self.sample_interval == 0:
            self._open(cast(EnergyCounter, self._counter))

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Add up the counts of the batch."""
        self._close(outputs)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: Sequence | None = None,
    ) -> None:
        """Add up the counts of the batch."""
        self._close(outputs)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Show and write the counts."""
        self._finish(runner, 'val')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Show and write the counts."""
        self._finish(runner, 'test')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        """Count this batch, if it is one of the n-th."""
        if self.interval is not None and self.every_n_train_iters(runner, self.interval):
            self._training = EnergyCounter(_unwrapped(runner))
            self._open(self._training)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: object = None,
        outputs: dict | None = None,
    ) -> None:
        """Show the counts of the batch."""
        if self._training is None:
            return
        self._close()
        counts = EnergyCounts.merged(all_gather_object(self._training.counts()))
        self._training = None
        if counts.samples:
            self._show(runner, 'train', EnergyReport(counts, self.costs))

    def after_run(self, runner: Runner) -> None:
        """Remove all hooks."""
        self._close()
        self._counter = self._training = None

    def _open(self, counter: EnergyCounter) -> None:
        # An interrupted batch may have left a counter open.
        self._close()
        self._running = counter
        self._before = counter.samples
        counter.__enter__()

    def _close(self, outputs: Sequence | None = None) -> None:
        if self._running is None:
            return
        self._running.__exit__(None, None, None)
        if isinstance(outputs, list | tuple):
            # One prediction per image, also where test-time augmentation shows an image many times.
            self._running.samples = self._before + len(outputs)
        self._running = None

    def _finish(self, runner: Runner, mode: str) -> None:
        self._close()
        if self._counter is None:
            return
        # A process may have run other layers than another: whole tables are exchanged, once.
        counts = EnergyCounts.merged(all_gather_object(self._counter.counts()))
        self._counter = None
        if not counts.samples:
            return
        name = runner.experiment_name.removesuffix(f'_{runner.timestamp}')
        report = EnergyReport(counts, self.costs, name, origin=_origin(runner, mode))
        self._show(runner, mode, report)
        if not is_main_process():
            return
        for warning in report.warnings():
            runner.logger.warning(f'energy: {warning}')
        if self.write:
            folder = Path(runner.log_dir, 'energy')
            write_report(report, folder)
            runner.logger.info(f'energy: report in {folder}')

    @staticmethod
    def _show(runner: Runner, mode: str, report: EnergyReport) -> None:
        totals = report.totals
        for name, value in (
            ('spikes/rate', report.counts.mean_rate),
            ('energy/sops_g', totals.sops / 1e9),
            ('energy/mj', totals.energy_mj),
        ):
            runner.message_hub.update_scalar(f'{mode}/{name}', value)


def _origin(runner: Runner, mode: str) -> Origin:
    """Where weights and images of an evaluation are from."""
    checkpoint = runner.cfg.get('load_from')
    if runner.iter:
        weights = f'in training, after iteration {runner.iter}'
    else:
        weights = checkpoint or 'no checkpoint was loaded'
    return Origin(
        config=runner.cfg.filename or UNKNOWN,
        weights=weights,
        checkpoint_sha256=sha256(weights) if Path(weights).is_file() else None,
        images=f'{mode} data of the config',
    )


def _unwrapped(runner: Runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
