"""Random numbers that depend on the progress of training, not on earlier calls."""

from contextlib import ExitStack

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmspike.registry import HOOKS
from mmspike.seeding import seed_all, seeded


@HOOKS.register_module()
class ProgressSeedHook(Hook):
    """Seed Python, numpy and torch anew at the start of every training epoch, or iteration.

    Evaluations are seeded as well, all alike: a model that draws random numbers there, for spike
    masking for instance, draws the same each time, and training goes on as if nothing was drawn.

    A resumed run has not drawn the numbers that were drawn before it, so without this hook its
    augmentations, mixup and stochastic depth differ from those of an uninterrupted run. Seeds come
    from the runner's seed, the rank, and the epoch, or the iteration where the loop runs by
    iterations. Loader workers are seeded by mmengine when they start, which repeats exactly unless
    ``persistent_workers`` keeps them over epochs. A loop by iterations fetches a batch before its
    iteration begins: there, keep random augmentation out of the main process (``num_workers`` of at
    least 1).
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._evaluation = ExitStack()

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed for epoch ``runner.epoch``."""
        self._end_evaluation()
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            seed_all(runner.seed, runner.epoch, get_rank())

    def before_train_iter(self, runner: Runner, *args: object, **kwargs: object) -> None:
        """Seed for iteration ``runner.iter`` where training does not run by epochs."""
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            seed_all(runner.seed, runner.iter, get_rank())

    def before_val_epoch(self, runner: Runner) -> None:
        """Seed for evaluation."""
        self._begin_evaluation(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Seed for evaluation."""
        self._begin_evaluation(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Put the generators back."""
        self._end_evaluation()

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Put the generators back."""
        self._end_evaluation()

    def _begin_evaluation(self, runner: Runner) -> None:
        # What an interrupted evaluation left.
        self._end_evaluation()
        # As many numbers as the pool of numpy's SeedSequence holds; with fewer, an evaluation would
        # draw what the first epoch drew.
        self._evaluation.enter_context(seeded(runner.seed, 0, get_rank(), 1))

    def _end_evaluation(self) -> None:
        self._evaluation.close()
