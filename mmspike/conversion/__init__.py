"""Converting models and their weights."""

from mmspike.conversion.fold import fold_batch_norms
from mmspike.conversion.sdtv3 import Conversion, convert_sdtv3, convert_sdtv3_file
from mmspike.conversion.sdtv3_dense import convert_sdtv3_dense, convert_sdtv3_dense_file

__all__ = [
    'Conversion',
    'convert_sdtv3',
    'convert_sdtv3_dense',
    'convert_sdtv3_dense_file',
    'convert_sdtv3_file',
    'fold_batch_norms',
]
