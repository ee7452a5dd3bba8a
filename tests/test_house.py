"""The house: imports go down only, nothing runs in circles, nothing is too big, the public face is as promised."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hf_fft

HOUSE = Path(hf_fft.__file__).parent
FLOORS = {
    "errors": 0,
    "cache": 0,
    "recipe": 1,
    "result": 2,
    "data": 2,
    "metrics": 2,
    "command_line": 2,
    "tasks": 3,
    "strategies": 3,
    "training": 4,
    "analysis": 4,
    "report": 4,
    "publishing": 4,
    "pipeline": 5,
    "comparison": 5,
    "prediction": 5,
    "run": 6,
    "compare": 6,
    "publish": 6,
    "predict": 6,
    "export": 6,
    "__main__": 7,
    "__init__": 7,
}
MOST_LINES_IN_A_FILE = 350
MOST_LINES_IN_A_FUNCTION = 60
MOST_ARGUMENTS = 7
MOST_RECIPE_FIELDS = 120
PUBLIC = {
    "FullFinetuningSeq2SeqTrainer",
    "FullFinetuningTrainer",
    "Recipe",
    "Result",
    "TrainingVisualizer",
    "compare_strategies",
    "fine_tune",
    "load_model",
    "load_recipe",
    "load_result",
    "load_splits",
}

FILES = sorted(HOUSE.rglob("*.py"))
MODULES = {
    path: ".".join(("hf_fft", *path.relative_to(HOUSE).with_suffix("").parts)).removesuffix(".__init__")
    for path in FILES
}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def room_of(path: Path) -> str:
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Yield the hf_fft modules that a file imports at run time, inside functions too."""
    only_for_types = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if node in only_for_types:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "hf_fft":
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES.values())
            yield from inside or {node.module}
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("hf_fft."))


class AtLoadTime(ast.NodeTransformer):
    """Leave out what only runs when a function is called."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(tree_of(path)) if isinstance(node, Function)]


def lines_without_docstring(function: Function) -> int:
    first = function.body[0]
    docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    hidden = (first.end_lineno - first.lineno + 1) if docstring else 0
    return function.end_lineno - function.lineno + 1 - hidden


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_go_down_only(path):
    room = room_of(path)
    for module in imported_modules(tree_of(path)):
        other = module.split(".")[1] if "." in module else "__init__"
        assert other == room or FLOORS[other] < FLOORS[room], f"{path.name} on floor {FLOORS[room]} imports {module}"


def test_no_two_modules_import_each_other_at_load_time():
    graph = {}
    for path, name in MODULES.items():
        top_level = AtLoadTime().visit(tree_of(path))
        graph[name] = {
            module for module in imported_modules(top_level) if module in MODULES.values() and module != name
        }
    remaining = dict(graph)
    while free := [name for name, needs in remaining.items() if not needs & set(remaining)]:
        for name in free:
            del remaining[name]
    assert not remaining, f"these import each other: {sorted(remaining)}"


def test_nothing_is_too_big(capsys):
    file_lines = {path: len(path.read_text().splitlines()) for path in FILES}
    function_lines = {
        f"{path.name}:{one.name}": lines_without_docstring(one) for path in FILES for one in functions(path)
    }
    arguments = {
        f"{path.name}:{one.name}": len([*one.args.posonlyargs, *one.args.args, *one.args.kwonlyargs]) - _bound(one)
        for path in FILES
        for one in functions(path)
    }
    with capsys.disabled():
        print(
            f"\nfiles: {len(FILES)}, median {statistics.median(file_lines.values()):.0f} lines, "
            f"longest {max(file_lines.values())}; "
            f"functions: {len(function_lines)}, median {statistics.median(function_lines.values()):.0f} lines, "
            f"longest {max(function_lines.values())}"
        )
    assert not {str(path): lines for path, lines in file_lines.items() if lines > MOST_LINES_IN_A_FILE}
    assert not {name: lines for name, lines in function_lines.items() if lines > MOST_LINES_IN_A_FUNCTION}
    assert not {name: count for name, count in arguments.items() if count > MOST_ARGUMENTS}


def _bound(function: Function) -> int:
    first = next(iter(function.args.args), None)
    return 1 if first is not None and first.arg in {"self", "cls"} else 0


def test_our_own_recipe_fields_stay_few():
    from hf_fft.recipe import record, records, task_records

    named = {**vars(records), **vars(task_records)}.values()
    kinds = {one for one in named if isinstance(one, type) and issubclass(one, record.Record)}
    said = [vars(kind).get("__annotations__", {}) for kind in kinds]
    # A base's `name: str` keeps the place of the name that each kind declares.
    fields = sum(len(fields) - (fields.get("name") == "str") for fields in said)
    print(f"recipe fields of our own: {fields}")
    assert 60 < fields <= MOST_RECIPE_FIELDS


def test_the_public_face_is_the_promised_one_and_every_name_is_there():
    assert set(hf_fft.__all__) == PUBLIC
    assert all(getattr(hf_fft, name) is not None for name in hf_fft.__all__)
    with pytest.raises(AttributeError, match="fine_tuner"):
        hf_fft.fine_tuner


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_every_module_and_every_public_function_says_what_it_is(path):
    tree = tree_of(path)
    assert ast.get_docstring(tree), f"{path} has no docstring"
    owners = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))]
    for owner in owners:
        for node in owner.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name} has no docstring"


def test_print_stands_at_the_doors_only():
    doors = {"run", "compare", "publish", "predict", "export", "command_line", "__main__"}
    for path in FILES:
        calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
        prints = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
        assert not prints or room_of(path) in doors or path.name == "schema.py", path


def python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, cwd=cwd)


def test_importing_hf_fft_imports_neither_torch_nor_transformers():
    code = "import hf_fft, sys; print(sorted({'torch', 'transformers', 'datasets', 'pydantic'} & set(sys.modules)))"
    assert python(code).stdout.strip() == "[]"


def test_a_recipe_with_six_faults_prints_six_lines_and_imports_no_torch(tmp_path):
    recipe = tmp_path / "bad.json"
    recipe.write_text(
        '{"task": {"name": "text_clasification"}, "modle": "x", "data": {"path": "d", "max_train_rows": "9"}, '
        '"strategy": {"name": "full", "layer_decay": 1.5}, "training": {"batch_size": 8}, "seed": true}'
    )
    code = (
        "import sys; from hf_fft.__main__ import main; code = main(['run', sys.argv[1]]); "
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules; sys.exit(code)"
    )
    finished = python(code, str(recipe), cwd=tmp_path)
    assert finished.returncode == 2
    heading, *faults = finished.stderr.strip().splitlines()
    assert heading.endswith("bad.json has 6 faults:") and len(faults) == 6, finished.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.json"]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["run", "--help"],
        ["compare", "--help"],
        ["publish", "--help"],
        ["predict", "--help"],
        ["export", "--help"],
    ],
)
def test_help_imports_no_torch(words):
    code = (
        "import sys\nfrom hf_fft.__main__ import main\ntry:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n"
        "    code = end.code\nassert 'torch' not in sys.modules\nsys.exit(code)"
    )
    finished = python(code, *words)
    assert finished.returncode == 0, finished.stderr
    assert "usage" in finished.stdout


def test_rooms_inside_training_stand_on_floors_too():
    floors = {"speed": 0, "frozen_prefix": 1, "estimate": 2}
    for path, name in MODULES.items():
        inside = name.split(".")[2] if name.startswith("hf_fft.training.") else ""
        for module in imported_modules(tree_of(path)):
            other = (*module.split("."), "", "")[2] if module.startswith("hf_fft.training.") else ""
            if inside in floors and other in floors and inside != other:
                assert floors[other] < floors[inside], f"{name} imports {module}"
