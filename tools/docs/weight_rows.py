"""The rows of the tables of files of weights."""

HEADER = (
    '| weights | where their authors keep the file | tensors | target, config | status |\n'
    '|---|---|--:|---|---|\n'
)
TRAINED_HEADER = '| target | made by | weights |\n|---|---|---|\n'


def status(weights: dict) -> str:
    """What is proven of a published file."""
    if 'Converter' not in weights:
        return 'no converter yet'
    if 'Page' not in weights:
        return 'no file published'
    return (
        'config and converter proven' if 'Config' in weights else 'converter proven, no config yet'
    )


def weight_row(weights: dict, configs: dict[str, str], up: str = '') -> str:
    """A line for a published file.

    Args:
        weights: Its entry in a metafile.
        configs: Name of a model -> file of its config.
        up: Path from the page to the root of the repository.
    """
    places = [
        f'[{word}]({weights[key]})' for key, word in (('Page', 'page'), ('URL', 'file'))
        if key in weights
    ]  # fmt: skip
    target = f'`{weights["Target"]}`' if 'Target' in weights else 'any'
    config = weights.get('Config')
    cells = [
        weights['Content'] + (f' (`{weights["File"]}`)' if 'File' in weights else ''),
        ', '.join(places) or "none published; for your own files from the authors' code",
        str(weights.get('Tensors', '-')),
        target + (f', [config]({up}{configs[config]})' if config else ''),
        status(weights),
    ]
    return f'| {" | ".join(cells)} |\n'


def trained_row(weights: dict, configs: dict[str, str], up: str = '') -> str:
    """A line for a file that a command writes; see :func:`weight_row`."""
    content = weights['Content']
    if 'Config' in weights:
        content += f', [config]({up}{configs[weights["Config"]]})'
    return f'| `{weights["Target"]}` | `{weights["Command"]}` | {content} |\n'
