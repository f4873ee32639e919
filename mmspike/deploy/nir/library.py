"""The ``nir`` package, which the extra ``mmspike[nir]`` installs."""

try:
    import nir
except ImportError as error:
    raise ImportError("nir is not installed: pip install 'mmspike[nir]'") from error

__all__ = ['nir']
