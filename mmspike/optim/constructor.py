"""mmengine's optimiser construction with a short report."""

import logging
from collections import Counter
from contextlib import contextmanager
from typing import Any

from mmengine.logging import MMLogger
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from mmspike.registry import OPTIM_WRAPPER_CONSTRUCTORS

_LABEL = 'paramwise_options -- '


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class OptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor; options of single parameters are logged in sums.

    mmengine logs a line per parameter and option of ``paramwise_cfg``, hundreds for a network. This
    class logs a line per value of an option, with the number of parameters that have it.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimiser of a model."""
        logger = MMLogger.get_current_instance()
        with _counted(logger) as counts:
            wrapper = super().__call__(model)
        for option, count in counts.items():
            logger.info('%s%s: %d parameters', _LABEL, option, count)
        return wrapper


@contextmanager
def _counted(logger: MMLogger) -> Any:
    """Inside the block, messages about single parameters are counted instead of logged."""
    counts: Counter[str] = Counter()

    def is_other(record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if not text.startswith(_LABEL):
            return True
        counts[text.rpartition(':')[2]] += 1
        return False

    logger.addFilter(is_other)
    try:
        yield counts
    finally:
        logger.removeFilter(is_other)
