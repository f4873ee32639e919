"""Converting published weights to those of mmspike's models."""

from mmspike.converters.dense import convert_dense, convert_dense_file
from mmspike.converters.mst import convert_mst, convert_mst_file
from mmspike.converters.sdt import convert_sdt, convert_sdt_file
from mmspike.converters.sdtv2 import convert_sdtv2, convert_sdtv2_file
from mmspike.converters.sdtv3 import convert_sdtv3, convert_sdtv3_file
from mmspike.converters.sdtv3_events import convert_sdtv3_events, convert_sdtv3_events_file
from mmspike.converters.weights import Conversion
from mmspike.moved import moved_names

__all__ = [
    'Conversion',
    'convert_dense',
    'convert_dense_file',
    'convert_mst',
    'convert_mst_file',
    'convert_sdt',
    'convert_sdt_file',
    'convert_sdtv2',
    'convert_sdtv2_file',
    'convert_sdtv3',
    'convert_sdtv3_events',
    'convert_sdtv3_events_file',
    'convert_sdtv3_file',
]

__getattr__ = moved_names(
    __name__,
    {
        'convert_sdtv3_dense': 'converters:convert_dense',
        'convert_sdtv3_dense_file': 'converters:convert_dense_file',
    },
)
