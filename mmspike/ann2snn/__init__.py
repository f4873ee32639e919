"""Conversion of a trained network to integrate-and-fire neurons."""

from mmspike.ann2snn.fold import fold_batch_norms
from mmspike.ann2snn.quantise import calibrate_thresholds, insert_qcfs
from mmspike.ann2snn.report import ConversionReport, conversion_report
from mmspike.ann2snn.simulate import simulate
from mmspike.ann2snn.simulation import Simulation
from mmspike.ann2snn.spiking import convert_to_spiking

__all__ = [
    'ConversionReport',
    'Simulation',
    'calibrate_thresholds',
    'conversion_report',
    'convert_to_spiking',
    'fold_batch_norms',
    'insert_qcfs',
    'simulate',
]
