"""The public surface: names, pages that agree with signatures, rooms, light imports."""

import ast
import builtins
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skarm
from skarm._optional import import_optional

ROOT = Path(skarm.__file__).parent
FILES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path
    for path in sorted(ROOT.rglob("*.py"))
}
MODULES = ["skarm", *(m.name for m in pkgutil.walk_packages([str(ROOT)], "skarm."))]

#: From the bottom up; a module imports from its own room and from those below.
ROOMS = [
    {"exceptions", "_optional", "_data", "comparisons"}
    | {"_callbacks", "_fit_params", "_persistence"},
    {
        f"_model.{name}"
        for name in ("graph", "likelihood", "newton", "evidence", "linear")
    }
    | {"_model.choice", "_model.networks", "_model.student", "_model.prior"}
    | {"_information.fisher"}
    | {"_information.pair_lengths", "_information.shortlists", "_threads"}
    | {f"_information.{name}" for name in ("exchange", "criteria", "certificate")}
    | {"_information.pair_pool", "_information.pair_scan"},
    {"_model", "_information"},  # the rest of them
    {"strategies"},
    {"_embedding"},
    {"_candidates", "_pool_design", "_efficiency", "_curves"},
    {"bradley_terry", "sampler", "itemwise", "text", "metrics", "annotators"}
    | {"model_selection", "utils"},
    {"learner", "datasets", "io", "annotate", "modal", "skactiveml"},
    {"display", "skarm"},
]


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", MODULES)
def test_every_name_in_all_exists_once(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [public for public in module.__all__ if not hasattr(module, public)] == []


def test_the_names_that_other_code_relies_on():
    assert set(skarm.__all__) >= {
        "ActiveComparisonSampler",
        "ActiveRewardLearner",
        "BradleyTerryRegressor",
        "Comparisons",
        "ItemwiseTransformer",
        "make_reward_pipeline",
    }
    assert re.fullmatch(r"\d+\.\d+\.\d+", skarm.__version__)


# --------------------------------------------------------------------------- pages


def owned(thing):
    return str(getattr(thing, "__module__", "")).startswith("skarm")


def documented():
    """Functions, classes, their methods and properties; those of public modules."""
    found, public = {}, set()
    for module in map(importlib.import_module, MODULES):
        for thing in (getattr(module, name) for name in module.__all__):
            if not owned(thing) or not callable(thing):
                continue
            label = f"{thing.__module__}.{thing.__qualname__}"
            found[label] = thing
            if "._" not in module.__name__:
                public.add(label)
            for name, member in vars(thing).items() if inspect.isclass(thing) else ():
                member = getattr(member, "__func__", getattr(member, "fn", member))
                wanted = inspect.isfunction(member) or isinstance(member, property)
                if wanted and not name.startswith("_"):
                    found[f"{label}.{name}"] = member
    public |= {name for name in found if name.rpartition(".")[0] in public}
    return found, public


def parameters_of(thing):
    """Defaults by name, without self; none for a class without its own __init__."""
    if isinstance(thing, property):
        return {}
    if inspect.isclass(thing) and not issubclass(thing, tuple):
        if not any(owned(vars(base).get("__init__")) for base in thing.__mro__):
            return {}
    parameters = list(inspect.signature(thing).parameters.values())
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return {
        stars.get(p.kind, "") + p.name: p.default
        for p in parameters
        if p.name not in ("self", "cls")
    }


def section(page, title):
    """[(names, type), ...] of a section of a numpydoc page, or None without it."""
    match = re.search(rf"^{title}\n-+\n(.*?)(?=\n\n[^\n]+\n---|\Z)", page, re.M | re.S)
    if match is None:
        return None
    text = re.sub(r",\n(?=\S)", ", ", match[1])  # names may take two lines
    entries = [line.partition(" : ") for line in text.splitlines() if line[:1].strip()]
    return [(names.split(", "), kind) for names, _, kind in entries]


def value_of(text):
    """What a documented default stands for; a builtin by its name."""
    return vars(builtins)[text] if text in vars(builtins) else ast.literal_eval(text)


DOCUMENTED, PUBLIC = documented()


@pytest.mark.parametrize("label", DOCUMENTED)
def test_every_page_names_the_parameters_and_defaults_of_the_signature(label):
    thing = DOCUMENTED[label]
    page = inspect.getdoc(thing) or ""
    if isinstance(thing, property) and not page:  # it may be on the page of its class
        owner, _, name = label.rpartition(".")
        page = inspect.getdoc(DOCUMENTED[owner])
        assert name in {n for names, _ in section(page, "Attributes") for n in names}
        return
    assert page or label not in PUBLIC, "no docstring"
    parameters = parameters_of(thing)
    entries = section(page, "Parameters")
    if inspect.isclass(thing) and issubclass(thing, tuple):
        entries = entries or section(page, "Attributes")  # a record is its fields
    if entries is None:
        assert label not in PUBLIC or not parameters, "no section Parameters"
        return
    assert sorted(name for names, _ in entries for name in names) == sorted(parameters)
    for names, kind in entries:
        _, has_default, default = kind.partition("default=")
        for name in names:
            if has_default:
                assert value_of(default) == parameters[name], name
            elif kind and len(names) == 1:
                unstated = None if kind.endswith("None") else inspect.Parameter.empty
                assert parameters[name] in (unstated, inspect.Parameter.empty), name


def test_the_reader_of_pages_reads_them():
    def add(first, second, *others, carry=2, base=10, **more):
        """Sum.

        Parameters
        ----------
        first, second,
        *others
            Numbers.
        carry : int, default=3
            Another.

            And a paragraph.
        base, **more : int
            More.

        Returns
        -------
        total : int
            Sum.
        """

    page = inspect.getdoc(add)
    assert section(page, "Parameters") == [
        (["first", "second", "*others"], ""),
        (["carry"], "int, default=3"),
        (["base", "**more"], "int"),
    ]
    assert section(page, "Returns") == [(["total"], "int")]
    assert section(page, "Raises") is None
    names = ["first", "second", "*others", "carry", "base", "**more"]
    assert list(parameters_of(add)) == names
    assert parameters_of(add)["carry"] == 2
    assert (value_of("input"), value_of('"auto"'), value_of("None")) == (
        *(input, "auto", None),
    )
    assert "skarm.comparisons.Comparisons.take" in PUBLIC < DOCUMENTED.keys()


# --------------------------------------------------------------------------- rooms


def imported_modules(path, name):
    """Modules of skarm that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                is_module = inner in FILES or f"{inner}.__init__" in FILES
                yield inner if is_module else node.module


def floor(name):
    path = [*name.removesuffix(".__init__").split("."), "skarm"][1:3]
    known = {room for rooms in ROOMS for room in rooms}
    room = ".".join(path) if ".".join(path) in known else path[0]
    floors = [i for i, rooms in enumerate(ROOMS) if room in rooms]
    assert floors, f"{name} has no room: put it in ROOMS"
    return floors[0]


@pytest.mark.parametrize("name", FILES)
def test_imports_go_downward_only(name):
    ours = {
        m for m in imported_modules(FILES[name], name) if m.split(".")[0] == "skarm"
    }
    assert [module for module in ours if floor(module) > floor(name)] == []


@pytest.mark.parametrize("name", FILES)
def test_the_bottom_room_knows_no_torch_and_the_numeric_rooms_no_sklearn(name):
    forbidden = {0: {"torch"}, 1: {"sklearn"}, 2: {"sklearn"}}
    used = {m.split(".")[0] for m in imported_modules(FILES[name], name)}
    assert used & forbidden.get(floor(name), set()) == set()


@pytest.mark.parametrize("name", FILES)
def test_no_module_has_more_than_500_lines(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 500


# ------------------------------------------------------------------------- imports


def test_importing_skarm_loads_no_optional_or_slow_package():
    slow = ["sentence_transformers", "transformers", "matplotlib", "datasets"]
    # scikit-learn itself imports pandas where it can: hide it, and skarm still imports.
    code = (
        "import sys; sys.modules['pandas'] = None; import skarm; "
        f"print([name for name in {slow} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


def test_a_missing_package_is_named_with_its_caller_and_extra():
    message = (
        r"plot\(\) needs skarm_no_such, which is not installed. "
        r"Install it with: pip install 'skarm\[plot\]'"
    )
    with pytest.raises(ImportError, match=message) as caught:
        import_optional("skarm_no_such.inner", needed_by="plot()", extra="plot")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert (
        import_optional("json.decoder", needed_by="x", extra="y")
        is sys.modules["json.decoder"]
    )
