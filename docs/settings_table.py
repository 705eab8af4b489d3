"""Put the settings into the documentation, as it is built (a mkdocs hook).

A line `<!-- settings -->` of a page, with what stands from there to `<!-- end -->`, becomes the
table of all settings, `<!-- settings by data -->` the table of presets, and `<!-- settings of data
-->` the table of how files are read. All are made from the declarations of the package, so that a
page can't say otherwise. What stands there is for those who read the page as a file.
"""

import re
from typing import Any

from relgrad_np.fitting.declared import Setting, declared
from relgrad_np.fitting.options import Options
from relgrad_np.runs.presets import BY_NAME, TOY
from relgrad_np.runs.settings import DataSettings, Settings


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page by the tables (called by mkdocs).

    >>> on_page_markdown("<!-- settings by data -->as files<!-- end -->").splitlines()[2]
    '| `toys` | layers 48, init principal, rule natural, batch_size 250 |'
    """
    for mark, made in MADE.items():
        place = re.compile(f"<!-- {mark} -->.*?<!-- end -->", re.S)
        table = made() if place.search(markdown) else ""
        markdown = place.sub(lambda _, table=table: table, markdown)  # type: ignore[misc]
    return markdown


def all_settings() -> str:
    """Return a row for each setting: its words, its choices, its defaults in `fit` and `train`.

    >>> all_settings().splitlines()[2].split("|")[1:3]
    [' `rule` ', ' what makes a step of a gradient ']
    """
    of_fit, of_train = declared(Options), declared(Settings)
    rows = [
        (
            f"`{name}`",
            setting.help,
            ", ".join(setting.choices),
            _default(of_fit.get(name)),
            _default(of_train.get(name)),
        )
        for name, setting in (of_fit | of_train).items()
    ]
    return _table(("setting", "what it is", "choices", "`fit`", "`relgrad-np train`"), rows)


def settings_of_data() -> str:
    """Return a row for each flag by which a file of one's own is read.

    >>> settings_of_data().splitlines()[2].split("|")[1]
    ' `--columns` '
    """
    rows = [
        (f"`--{name.replace('_', '-')}`", one.help, ", ".join(one.choices), one.default_text())
        for name, one in declared(DataSettings).items()
    ]
    return _table(("flag", "what it is", "choices", "default"), rows)


def settings_by_data() -> str:
    """Return a row for each preset: the settings that are not the usual ones."""
    rows = []
    for name, settings in ({"toys": TOY} | BY_NAME).items():
        own = {key: getattr(settings, key) for key in declared(Settings)}
        differ = (f"{key} {value}" for key, value in own.items() if value != getattr(Settings, key))
        rows.append((f"`{name}`", ", ".join(differ)))
    return _table(("preset", "settings"), rows)


def _default(setting: Setting | None) -> str:
    return "" if setting is None else setting.default_text()


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


MADE = {
    "settings": all_settings,
    "settings of data": settings_of_data,
    "settings by data": settings_by_data,
}
