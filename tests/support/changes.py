"""Changes of a text: a line of it, and what stands in the line's place from now on."""

Change = tuple[str, str]


def after(line: str, added: str) -> Change:
    """Text behind a line."""
    return line, f'{line}\n{added}'


def before(line: str, added: str) -> Change:
    """Text in front of a line."""
    return line, f'{added}\n{line}'


def changed(text: str, changes: tuple[Change, ...]) -> str:
    """The text with all changes; each line has to be there once."""
    for line, new in changes:
        assert f'\n{text}'.count(f'\n{line}\n') == 1, line
        text = f'\n{text}'.replace(f'\n{line}\n', f'\n{new}\n')[1:]
    return text
