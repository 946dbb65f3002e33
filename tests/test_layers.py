"""Imports inside jaxmicro go downward only; a heavy library has one home."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "jaxmicro"
LAYER = {
    **dict.fromkeys(["errors", "types", "phases", "units", "collection"], 0),
    **dict.fromkeys(["descriptors", "diffusion", "devices"], 1),
    **dict.fromkeys(["physics", "models", "simulate"], 2),
    **dict.fromkeys(["data", "train", "reconstruct", "generate", "guidance", "evaluate"], 3),
    **dict.fromkeys(["io", "viz"], 4),
    **dict.fromkeys(["pipeline", "cli"], 5),
}
MAY_IMPORT = {0: {0}, 1: {0}, 2: {0, 1}, 3: {0, 1, 2}, 4: {0}, 5: {0, 1, 2, 3, 4}}
# Pairs of one layer in which the first may import the second; all other packages of a layer are independent.
SIBLINGS = {
    ("types", "errors"),
    ("units", "errors"),
    ("collection", "errors"),
    ("collection", "types"),
    ("cli", "pipeline"),
}
HOMES = {
    "matplotlib": ["viz/"],
    "orbax": ["io/checkpoint.py"],
    "tyro": ["cli/"],
    "tifffile": ["io/"],
    "PIL": ["io/"],
    "tensorstore": ["io/"],
    "grain": ["data/"],
    "safetensors": ["io/checkpoint.py"],
    "jax_fem": ["physics/jaxfem.py"],
}
VERBS = ("train", "reconstruct", "design", "generate", "measure", "evaluate", "simulate")
FILES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every absolute module name that `path` imports, with the line."""
    package = ["jaxmicro", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def part(path: Path) -> str:
    """The package (or the file, at the top) of jaxmicro that `path` belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_downward_only(path: Path):
    own = part(path)
    if own in ("__init__", "__main__"):
        return
    assert own in LAYER, f"{own} has no layer: add it to LAYER"
    for module, line in imports(path):
        target = (module.split(".") + [""])[1]
        if not module.startswith("jaxmicro.") or target == own or target not in LAYER:
            continue
        below = LAYER[target] in MAY_IMPORT[LAYER[own]] and LAYER[target] != LAYER[own]
        assert below or (own, target) in SIBLINGS, f"{name(path)}:{line} imports {module}"


def modules_imported() -> dict[str, set[str]]:
    """Module -> the modules of jaxmicro that it imports, also within functions."""
    known = {name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in FILES}
    found = {}
    for module, path in known.items():
        candidates = [target.removeprefix("jaxmicro.") for target, _ in imports(path)]
        found[module] = {t if t in known else t.rpartition(".")[0] for t in candidates} & set(known) - {module}
    return found


def test_no_module_imports_itself_through_others():
    left = modules_imported()
    while free := {module for module, needed in left.items() if not needed & set(left)}:
        left = {module: needed for module, needed in left.items() if module not in free}
    assert not left, f"a cycle among {sorted(left)}"


def test_a_verb_is_one_module_with_one_public_function_and_no_other_builds_on_it():
    for module, needed in modules_imported().items():
        if module.startswith("pipeline."):
            assert not needed & {f"pipeline.{verb}" for verb in VERBS}, module
    for verb in VERBS:
        tree = ast.parse((ROOT / "pipeline" / f"{verb}.py").read_text())
        public = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
        assert public == [verb]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_library_with_side_effects_is_named_in_one_place_only(path: Path):
    for module, line in imports(path):
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or name(path).startswith(tuple(homes)), f"{name(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_annotations_are_evaluated(path: Path):
    """Postponed annotations are strings, which weakens the shape checks."""
    assert not any(module == "__future__.annotations" for module, _ in imports(path))


def raised(node: ast.AST) -> Iterator[str]:
    """Names of the exceptions that a function raises itself, and does not catch."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and child.exc is not None:
            yield ast.unparse(child.exc.func if isinstance(child.exc, ast.Call) else child.exc)
        elif isinstance(child, ast.Try):
            caught = " ".join(ast.unparse(handler.type) if handler.type else "Exception" for handler in child.handlers)
            inside = [name for statement in child.body for name in raised(ast.Module([statement], []))]
            yield from (name for name in inside if name not in caught and "Exception" not in caught)
            for statement in (*child.handlers, *child.orelse, *child.finalbody):
                yield from raised(statement)
        elif not isinstance(child, (ast.FunctionDef, ast.ClassDef)):
            yield from raised(child)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_public_functions_say_what_they_raise(path: Path):
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    for node in [*tree.body, *(method for each in classes for method in each.body)]:
        if isinstance(node, ast.FunctionDef) and node.name[0] != "_" and set(raised(node)):
            assert "Raises:" in (ast.get_docstring(node) or ""), f"{name(path)}: {node.name} raises {set(raised(node))}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_long_files_and_functions_say_why_they_are_one(path: Path):
    """Files of more than 300 lines, and functions of more than 60 without their docstring."""
    text = path.read_text()
    tree = ast.parse(text)
    if len(text.splitlines()) > 300:
        assert "One file" in (ast.get_docstring(tree) or ""), f"{name(path)} has {len(text.splitlines())} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) is not None
            lines = (node.end_lineno or 0) - ((node.body[0].end_lineno or 0) if documented else node.lineno)
            assert lines <= 60 or "One function" in (ast.get_docstring(node) or ""), f"{name(path)}: {node.name}"


def test_no_module_is_named_utils():
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "misc")]


def test_the_picture_of_the_architecture_is_that_of_the_imports():
    from tests.architecture import MARKS, PAGE, TITLES, picture

    assert set(TITLES) == set(LAYER.values()) - {0}
    assert PAGE.read_text().split(MARKS[0])[1].startswith(picture()), "run python -m tests.architecture"
