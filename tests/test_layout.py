"""Imports point one way, as design section 12 says; read from the sources, nothing is imported."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "django_maillog"
NAME = PACKAGE.name

# The rows of the design; a row may be several layers, parts of its modules that build on one another.
ROWS: tuple[tuple[set[str], ...], ...] = (
    (
        {"conf", "compat", "frames", "language", "charset", "uncaught", "policy", "signals", "throttle"}
        | {"forks"},
        {"models", "moments"},
        {"transactions"},
        {"buffers", "database_clock", "links"},
    ),
    ({"capture"}, {"digest"}),
    ({"spool"},),
    ({"intake", "outbox"},),
    ({"hosts", "silences"}, {"flush"}, {"plan", "prune", "erase", "health"}, {"watch", "health_check"}),
    ({"worker"},),
    (
        {"admin", "checks", "handlers"},
        {"receivers", "templatetags", "trial"},
        {"management", "tasks", "views"},
    ),
    ({"apps", "urls"},),
)
LAYER = {name: number for number, names in enumerate(chain.from_iterable(ROWS)) for name in names}
OUTSIDE = {"", "migrations"}


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """The module's name within the package: "admin.batches"; a package's own file is the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path) for path in sources()}


def imports(path: Path) -> Iterator[str]:
    """The package's modules that this one imports, at its top, inside functions, for type checkers."""
    package = dotted(path).split(".") if path.stem == "__init__" else dotted(path).split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name.removeprefix(NAME + ".") for name in names if name.startswith(NAME + "."))
        elif isinstance(node, ast.ImportFrom):
            base = origin(node, package)
            if base is None:
                continue
            for alias in node.names:
                whole = f"{base}.{alias.name}".lstrip(".")
                yield whole if whole in MODULES else base


def origin(node: ast.ImportFrom, package: list[str]) -> str | None:
    """What an import is from, within our package; None if it is from elsewhere."""
    module = node.module or ""
    if node.level:
        return ".".join([*package[: len(package) - node.level + 1], *filter(None, [module])])
    if module == NAME or module.startswith(NAME + "."):
        return module[len(NAME) + 1 :]
    return None


def top(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_has_a_row() -> None:
    missing = {top(module) for module in MODULES} - set(LAYER) - OUTSIDE

    assert missing == set(), f"give {missing} a place in ROWS, and in the design if it is one of its modules"


@pytest.mark.parametrize("path", sources(), ids=dotted)
def test_imports_come_from_the_rows_above_only(path: Path) -> None:
    module = top(dotted(path))
    if module in OUTSIDE:
        return
    imported = {name for name in imports(path) if top(name) != module}

    wrong = {name for name in imported if top(name) in OUTSIDE or LAYER[top(name)] >= LAYER[module]}

    assert wrong == set()


def test_the_modules_within_a_package_form_no_cycle() -> None:
    graph = {
        dotted(path): {name for name in imports(path) if name != dotted(path)}
        for path in sources()
        if top(dotted(path)) not in OUTSIDE
    }

    TopologicalSorter(graph).prepare()


def test_handlers_can_be_imported_before_django_is_configured() -> None:
    code = (
        f"import sys, {NAME}.handlers\n"
        f"print(sorted(name for name in sys.modules if name.startswith('{NAME}.')"
        " and name.endswith(('models', 'queue', 'worker', 'admin'))))"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=PACKAGE.parent,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_design_names_every_module() -> None:
    design = (PACKAGE.parent / "docs" / "design.md").read_text(encoding="utf-8")
    layout = design.partition("## 12.")[2]
    folders = {"handlers", "admin", "capture", "digest", "spool", "intake", "outbox", "worker", "checks"}
    modules = {path for path in sources() if path.parent == PACKAGE or path.parent.name in folders}

    missing = {path.stem for path in modules if not re.search(rf"\b{path.stem}\b", layout)} - {"__init__"}

    assert missing == set()
