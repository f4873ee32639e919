"""Random spike masking (RSM) of whole models: which neurons drop how many of their spikes."""

from mmspike.masking.ratios import get_masking, masking_groups, set_masking
from mmspike.masking.schedules import Schedule, read_schedule

__all__ = ['Schedule', 'get_masking', 'masking_groups', 'read_schedule', 'set_masking']
