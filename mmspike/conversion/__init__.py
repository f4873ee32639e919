"""Converting models and their weights."""

from mmspike.ann2snn.fold import fold_batch_norms
from mmspike.ann2snn.quantise import calibrate_thresholds, insert_qcfs
from mmspike.ann2snn.report import ConversionReport, conversion_report
from mmspike.ann2snn.simulate import simulate
from mmspike.ann2snn.simulation import Simulation
from mmspike.ann2snn.spiking import convert_to_spiking
from mmspike.converters.mst import convert_mst, convert_mst_file
from mmspike.converters.sdt import convert_sdt, convert_sdt_file
from mmspike.converters.sdtv3 import convert_sdtv3, convert_sdtv3_file
from mmspike.converters.sdtv3_dense import convert_sdtv3_dense, convert_sdtv3_dense_file
from mmspike.converters.weights import Conversion

__all__ = [
    'Conversion',
    'ConversionReport',
    'Simulation',
    'calibrate_thresholds',
    'conversion_report',
    'convert_mst',
    'convert_mst_file',
    'convert_sdt',
    'convert_sdt_file',
    'convert_sdtv3',
    'convert_sdtv3_dense',
    'convert_sdtv3_dense_file',
    'convert_sdtv3_file',
    'convert_to_spiking',
    'fold_batch_norms',
    'insert_qcfs',
    'simulate',
]
