"""Converting published weights to those of mmspike's models."""

from mmspike.converters.convert import convert_file, convert_weights
from mmspike.converters.dense import convert_dense
from mmspike.converters.mst import convert_mst
from mmspike.converters.sdt import convert_sdt
from mmspike.converters.sdtv2 import convert_sdtv2
from mmspike.converters.sdtv3 import convert_sdtv3
from mmspike.converters.sdtv3_events import convert_sdtv3_events
from mmspike.converters.sdtv3_large import convert_sdtv3_large
from mmspike.converters.sdtv3_smae import convert_sdtv3_smae
from mmspike.converters.weights import Conversion
from mmspike.moved import moved_names

__all__ = [
    'Conversion',
    'convert_dense',
    'convert_file',
    'convert_mst',
    'convert_sdt',
    'convert_sdtv2',
    'convert_sdtv3',
    'convert_sdtv3_events',
    'convert_sdtv3_large',
    'convert_sdtv3_smae',
    'convert_weights',
]

__getattr__ = moved_names(
    __name__,
    {
        'convert_mst_file': 'converters:convert_file',
        'convert_sdt_file': 'converters:convert_file',
        'convert_sdtv3_dense': 'converters:convert_dense',
        'convert_sdtv3_dense_file': 'converters:convert_file',
        'convert_sdtv3_file': 'converters:convert_file',
    },
)
