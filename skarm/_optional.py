"""Import a package that is not an install requirement, or say how to get it."""

from importlib import import_module

__all__ = ["import_optional"]


def import_optional(name, *, needed_by, extra):
    """Import `name`, naming the caller and the extra where it is missing.

    Parameters
    ----------
    name : str
        The module to import, for example ``"matplotlib.pyplot"``.
    needed_by : str
        Who needs it, as the user would call it.
    extra : str
        The extra of skarm that installs it.

    Returns
    -------
    module : module
        The imported module.

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(
            f"{needed_by} needs {package}, which is not installed. "
            f"Install it with: pip install 'skarm[{extra}]'"
        ) from error
