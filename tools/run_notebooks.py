"""Run the notebooks and keep their outputs: tools/run_notebooks.py [NOTEBOOK ...]

What would differ from machine to machine is left out (times of execution, version of Python, where a printed text was
cut), and pictures get a palette, a third of the size. The tests run the notebooks, too, and compare nothing with what
is stored.
"""

import argparse
import base64
import io
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).parents[1] / "notebooks"
COLOURS = 128


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="*", metavar="NOTEBOOK", help="default: all")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    for path in parse_arguments(argv).notebooks or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        place = {"metadata": {"path": str(path.parent)}}
        NotebookClient(notebook, record_timing=False, coalesce_streams=True, resources=place).execute()
        clean(notebook)
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def clean(notebook: nbformat.NotebookNode) -> None:
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        for output in cell.get("outputs", []):
            output.pop("metadata", None)
            if output.output_type in ("display_data", "execute_result"):
                output.metadata = {}
                if "image/png" in output.data:
                    output.data["image/png"] = smaller(output.data["image/png"])


def smaller(png: str) -> str:
    """The same picture with a palette (no colour moves visibly: at most some levels of 255); a film stays as it is."""
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        if getattr(picture, "is_animated", False):
            return png
        content = io.BytesIO()
        packed = picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        packed.save(content, "PNG", optimize=True)
    return base64.b64encode(content.getvalue()).decode("ascii")


if __name__ == "__main__":
    main()
