"""Sphinx: `make docs` builds docs/_build/html, without network, with warnings as errors."""

import re
from importlib import metadata

project = "SVFormer on Loihi"
author = "The SVFormer-on-Loihi developers"
project_copyright = f"2026, {author}"
release = metadata.version("svformer-loihi")

extensions = ["myst_parser", "sphinx.ext.apidoc", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
if "pages" in tags:  # noqa: F821 (from Sphinx). `-t pages`: what people write, without the code's reference
    extensions, exclude_patterns = ["myst_parser"], ["_build", "api"]
html_theme = "furo"
html_title = project
html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_heading_anchors = 3
myst_links_external_new_tab = True

# One page for each package, its modules below each other; made anew at every build.
apidoc_separate_modules = False
apidoc_module_first = True
NEEDS_A_GPU_BUILD = ["**/multistep_triton.py"]  # the CPU build of torch brings no Triton
apidoc_modules = [
    {"path": f"../{package}", "destination": f"api/{package}", "exclude_patterns": NEEDS_A_GPU_BUILD}
    for package in ("svformer", "deploy", "hardware")
]
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True, "undoc-members": True, "ignore-module-all": True}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_inherit_docstrings = False  # those of torch and Lava are theirs
python_maximum_signature_line_length = 100


def as_rst(_app: object, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Docstrings here are plain words, `code`, lists and indented blocks; reStructuredText sees marks of its own."""
    found: list[str] = []
    for paragraph in "\n".join(lines).split("\n\n"):
        if section := re.fullmatch(r"(Args|Attributes|Raises):\n(    .*)", paragraph, re.DOTALL):
            found += [f"**{section[1]}**", "", *_definitions(section[2]), ""]
        elif re.search(r"^(- |\d\. )", paragraph, re.MULTILINE):
            found += [*re.sub(r"(?<=[^\n])\n(- |\d\. )", r"\n\n\1", _escaped(paragraph)).split("\n"), ""]
        elif re.search(r"^ ", paragraph, re.MULTILINE):
            found += [".. code-block:: text", "", *(f"    {line}" for line in paragraph.split("\n")), ""]
        else:
            found += [*_escaped(paragraph).split("\n"), ""]
    lines[:] = found


def _definitions(block: str) -> list[str]:
    """`    name: what it is`, with deeper lines that go on, as a list."""
    items = re.split(r"\n    (?! )", block.removeprefix("    "))
    named = (item.partition(": ") for item in items)
    return [f"- `{name}`: {_escaped(' '.join(text.split()))}" for name, _, text in named]


def without_placeholders(*arguments: object) -> tuple[str, None] | None:
    """Protocols, and classes whose base takes anything, have no signature of their own to show."""
    signature = arguments[-2]
    return ("", None) if signature == "(*args, **kwargs)" else None


def _escaped(paragraph: str) -> str:
    parts = re.split(r"(`[^`]+`)", paragraph)
    return "".join(rf"`{part}`\ " if part[:1] == "`" else re.sub(r"([*|\\_`])", r"\\\1", part) for part in parts)


def skipped(_app: object, _what: str, _name: str, member: object, skip: bool, _options: object) -> bool:
    """An alias such as EnergyFigure[pJ] is a class of its own for pydantic, and its base is on the page already."""
    return skip or "[" in getattr(member, "__name__", "")


def setup(app: object) -> None:
    """Called by Sphinx."""
    if "sphinx.ext.autodoc" in extensions:
        app.connect("autodoc-process-docstring", as_rst)  # type: ignore[attr-defined]
        app.connect("autodoc-process-signature", without_placeholders)  # type: ignore[attr-defined]
        app.connect("autodoc-skip-member", skipped)  # type: ignore[attr-defined]
