"""Runs the notebooks of docs/notebooks/ and keeps their outputs in them.

    make notebooks                        all four: about 4 minutes on 2 CPU cores
    make notebooks ARGS="lyapunov"        some, by name

Each runs from top to bottom in a new kernel of this interpreter, with the packages of this checkout. What differs
from run to run is not kept: times, and what libraries write to standard error. A notebook in which a cell raises an
error stays as it was.
"""

import base64
import io
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import tyro
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "docs" / "notebooks"
LONGEST = 1200  # seconds of one cell
METADATA = {  # of every notebook, without the version of Python that ran it
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


@dataclass(frozen=True)
class Config:
    """Runs the notebooks and keeps their outputs in them."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Notebooks to run, without .ipynb; by default all."""


class ThisInterpreter(KernelSpecManager):
    """Starts kernels of the running interpreter, whatever kernels are installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Returns the command of a kernel."""
        return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"])


def main(config: Config) -> int:
    """Runs what is asked for in turn; returns 1 where a cell raises an error, 2 for a mistake."""
    known = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    if unknown := [name for name in config.names if name not in known]:
        print(f"error: there is no notebook {unknown[0]!r}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in config.names or known:
        path = NOTEBOOKS / f"{name}.ipynb"
        try:
            nbformat.write(run(nbformat.read(path, as_version=4)), path)
        except CellExecutionError as error:
            print(f"error: a cell of {name} fails:\n{error}", file=sys.stderr)
            return 1
        print(f"docs/notebooks/{name}.ipynb, {path.stat().st_size / 1000:,.0f} kB", flush=True)
    return 0


def run(notebook: Any) -> Any:
    """Runs all cells of a notebook in a new kernel, from the root of the checkout; returns it with their outputs.

    Raises CellExecutionError where a cell raises an error."""
    with tempfile.TemporaryDirectory() as folder:
        # Neither the user's profile of IPython nor folders for connections are read or written.
        manager = AsyncKernelManager(
            kernel_spec_manager=ThisInterpreter(),
            connection_file=str(Path(folder, "kernel.json")),
            transport="ipc",  # no port that others could listen on
        )
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=LONGEST,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(ROOT)}},
        )
        client.execute(cleanup_kc=True, env=os.environ | {"IPYTHONDIR": folder})
    return cleaned(notebook)


def cleaned(notebook: Any) -> Any:
    """Returns the notebook without what differs from run to run, and with small pictures."""
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.get("outputs", []):
            if picture := output.get("data", {}).get("image/png"):
                output.data["image/png"] = with_palette(picture)
    return notebook


def with_palette(picture: str) -> str:
    """Returns a PNG in base 64 with a palette of 128 colours: a third of the size, of a figure with few colours."""
    image = Image.open(io.BytesIO(base64.b64decode(picture)))
    if image.mode == "P":
        return picture
    small = io.BytesIO()
    image.convert("RGB").quantize(128).save(small, "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, prog="make notebooks", description=__doc__)))
