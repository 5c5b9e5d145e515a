"""The skeleton of the virtual environment, as ``python -m venv`` lays it out (Python docs, library/venv)."""

from __future__ import annotations

from trainload.layers.model import ByteSink, Written
from trainload.layers.writer import LayerWriter
from trainload.plan.model import VENV, EnvironmentRecipe

_ACTIVATE = f"""\
# For `. {VENV}/bin/activate`; the image's PATH begins with this environment already.
VIRTUAL_ENV={VENV}
PATH="$VIRTUAL_ENV/bin:$PATH"
export VIRTUAL_ENV PATH
unset PYTHONHOME
deactivate() {{ :; }}
"""
_PATHS = "_trainload_base.pth"


def write_environment(recipe: EnvironmentRecipe, sink: ByteSink) -> Written:
    """Writes ``/opt/venv`` without packages: links to the interpreter, ``pyvenv.cfg``, an empty site-packages."""
    root = VENV.lstrip("/")
    minor = ".".join(recipe.python.split(".")[:2])
    with LayerWriter(sink) as out:
        for folder in (root.partition("/")[0], root, f"{root}/bin"):  # Docker 20.10 closes a folder left out
            out.directory(folder)
        out.file(f"{root}/bin/activate", _ACTIVATE.encode())
        out.symlink(f"{root}/bin/python", recipe.interpreter)
        out.symlink(f"{root}/bin/python3", "python")
        out.symlink(f"{root}/bin/python{minor}", "python")
        for folder in ("lib", f"lib/python{minor}", f"lib/python{minor}/site-packages"):
            out.directory(f"{root}/{folder}")
        if recipe.folders:
            # a path file of the site module: its folders come after the environment's own
            lines = "".join(f"{folder}\n" for folder in recipe.folders)
            out.file(f"{root}/lib/python{minor}/site-packages/{_PATHS}", lines.encode())
        out.symlink(f"{root}/lib64", "lib")
        out.file(f"{root}/pyvenv.cfg", configuration(recipe))
        return out.close()


def configuration(recipe: EnvironmentRecipe) -> bytes:
    """``pyvenv.cfg``: Python's ``site`` module finds the interpreter's own library through ``home`` (PEP 405)."""
    lines = {
        "home": recipe.interpreter.rpartition("/")[0],
        "implementation": "CPython",
        "version_info": recipe.python,
        "include-system-site-packages": str(recipe.system_site_packages).lower(),
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()
