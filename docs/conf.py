"""How the documentation is built: `sphinx-build -W -n docs docs/_build/html`."""

import re
from importlib.metadata import version as installed_version

project = "factorgraph_ebm"
author = "the factorgraph_ebm authors"
project_copyright = "2026, the factorgraph_ebm authors"
version = release = installed_version("factorgraph-ebm")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "jupyter_execute", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "factorgraph_ebm"

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# The quick start and the notebook run while the pages are built, so that no page shows an answer that is not true.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 200

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True


def prose(app, what, name, obj, options, lines):
    """Turn the house's docstrings into markup: sections are headings, `name : words` an entry, the rest is as written.

    The words after a colon are prose, `(*shape, K) energies in nats`, so napoleon would take them for types to look up.
    """
    made, in_section, in_example = [], False, False
    for number, line in enumerate(lines):
        text, indented = line.strip(), line.startswith(" ")
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        in_example = text.startswith(">>>") or (in_example and bool(text))
        if in_example:
            made.append(line)
        elif set(text) == {"-"}:
            made += [""]
        elif text and set(following) == {"-"}:
            in_section = True
            made += [f".. rubric:: {text}", ""]
        elif in_section and text and not indented and " : " in text:
            entry, words = text.split(" : ", 1)
            made += [f"``{entry}``", f"    {_as_written(words)}"]
        elif indented and not in_section and not (made and made[-1].strip()):
            made += ["::", "", line]
        else:
            made.append(line if _is_literal(made) and indented else _as_written(line))
    lines[:] = made


def _is_literal(made):
    """Whether a line that goes on here is inside a block that began with `::`."""
    for line in reversed(made):
        if line.strip() and not line.startswith(" "):
            return line == "::"
    return False


def _as_written(text):
    """Escape what would be markup outside backticks: `(*shape, K)`, `|a - b|`, `name_`."""
    pieces = re.split(r"(`+[^`]*`+)", text)
    pieces[::2] = [re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", piece) for piece in pieces[::2]]
    return "".join(pieces)


def setup(app):
    app.connect("autodoc-process-docstring", prose)
