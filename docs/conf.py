"""Sphinx configuration: python -m sphinx -W -b html docs docs/_build."""

import importlib
import os
import pkgutil
import re
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no example needs the network
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import skarm

project = "skarm"
author = "The skarm developers"
release = version = skarm.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.ipynb"]
html_theme = "pydata_sphinx_theme"
html_title = f"skarm {version}"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
html_sidebars = {"**": ["sidebar-nav-bs.html"]}
default_role = "literal"

autosummary_generate = True
numpydoc_show_class_members = False  # autodoc documents them in full
templates_path = ["_templates"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "ignore_pattern": r"(^|[\\/])(?!plot_)[^\\/]*\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 5,
    "show_signature": False,
}


def write_strategies(path):
    """Write the table of the registry that the user guide shows."""
    table = skarm.strategies.strategy_table("frame")
    columns = ["name", "family", "needs_model", "batch_aware", "cost", "source"]
    table = table[columns].replace({True: "yes", False: "no"})
    table.rename(columns=lambda name: name.replace("_", " ")).to_csv(path, index=False)


def write_reference(path):
    """Write what every public module says and offers; the modules list their names."""
    names = [m.name for m in pkgutil.iter_modules(skarm.__path__, "skarm.")]
    names = [name for name in names if not name.split(".")[1].startswith("_")]
    parts = ["API reference\n=============\n"]
    for name in ["skarm", *names]:
        module = importlib.import_module(name)
        public = [x for x in module.__all__ if f"skarm.{x}" not in names]
        if name != "skarm":  # what `import skarm` gives is listed there
            public = [x for x in public if x not in skarm.__all__]
        if not public:
            continue
        title = f"{name}\n{'-' * len(name)}\n"
        text = f".. automodule:: {name}\n   :no-members:\n\n.. currentmodule:: {name}\n"
        table = ".. autosummary::\n   :toctree: reference\n   :nosignatures:\n\n"
        parts += [title, text, table + "".join(f"   {x}\n" for x in public)]
    path.write_text("\n".join(parts), encoding="utf-8")


def keep_signs(app, what, name, obj, options, lines):
    """In our pages |x| is an absolute value, and coef_ a name: neither refers."""
    signs = re.compile(r"\|(?=\S)|(?<=\w)_(?![\w`])")
    lines[:] = [
        line if ">>>" in line or "``" in line else signs.sub(r"\\\g<0>", line)
        for line in lines
    ]


def skip_foreign(app, what, name, obj, skip, options):
    """Leave out what scikit-learn adds to every estimator, set_fit_request and such."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app):
    """Write what is taken from the code, before Sphinx looks for its sources."""
    folder = Path(app.srcdir, "reference")
    shutil.rmtree(folder, ignore_errors=True)  # pages of what is no longer there
    folder.mkdir()
    write_strategies(folder / "strategies.csv")
    write_reference(Path(app.srcdir, "reference.rst"))
    app.connect("autodoc-process-docstring", keep_signs)
    app.connect("autodoc-skip-member", skip_foreign)
