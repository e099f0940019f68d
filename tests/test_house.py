"""The house: imports point one way, names are public in one place, and docs use only those."""

import ast
import builtins
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "geohash_rs"

# The rooms of the package, bottom to top: a room imports only from rooms before it.
ROOMS = (
    "_compat",
    "errors",
    "metrics",
    "codes",
    "footprints",
    "store",
    "scenes",
    "pictures",
    "export",
    "hashing",
    "indexing",
    "embeddings",
    "trust",
    "retrieval",
    "concepts",
    "archive",
    "opening",
    "demo",
    "engines",
    "serve",
    "evaluate",
    "cli",
    "__main__",
)
# What else holds: the few rooms that may know a room, where others above it may not.
KNOWN_BY = {
    "cli": {"__main__"},
    "demo": {"cli"},
    "engines": {"cli"},
    "evaluate": {"cli"},
    "serve": {"cli"},
    "archive": {"cli", "demo", "engines", "opening", "serve"},
    "opening": {"cli", "demo", "engines", "serve"},
    "metrics": {"evaluate", "hashing"},
}
STORE_KNOWS = {"codes", "errors", "footprints"}
PLAIN = ("codes", "errors")  # public modules, all of whose __all__ is public


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
FACES = {module_name(path): path for path in sorted(PACKAGE.rglob("__init__.pyi"))}


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """List what is imported at any level, also inside functions: module and name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((item.name, "") for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, item.name) for item in node.names)


def known_modules(name: str) -> set[str]:
    """List the modules of this package that one of them imports."""
    found = set()
    for module, item in imports(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        inner = f"{module}.{item}"
        found.add(inner if inner in MODULES else module)
    return {module for module in found if module in MODULES and module != "geohash_rs"} - {name}


GRAPH = {name: known_modules(name) for name in MODULES}


def room(module: str) -> str:
    return module.split(".")[1]


def arrows() -> set[tuple[str, str, str]]:
    """List the imports across rooms: the module, its room and the other room."""
    return {
        (name, room(name), room(other))
        for name, others in GRAPH.items()
        if name != "geohash_rs"
        for other in others
        if room(name) != room(other)
    }


def public_names(face: str) -> dict[str, str]:
    """Read a stub: each public name and the module that defines it."""
    tree = ast.parse(FACES[face].read_text(encoding="utf-8"))
    return {
        item.asname or item.name: f"{face}.{node.module}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for item in node.names
    }


PUBLIC = {face: public_names(face) for face in FACES}


# --- imports ---


def test_every_room_is_in_the_order():
    assert {room(name) for name in MODULES if name != "geohash_rs"} == set(ROOMS)


def test_imports_point_down_the_order():
    up = [one for one in arrows() if ROOMS.index(one[1]) <= ROOMS.index(one[2])]
    assert sorted(up) == []


def test_no_modules_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("known", KNOWN_BY)
def test_a_room_is_known_only_by_those_that_may(known):
    others = [one for one in arrows() if one[2] == known and one[1] not in KNOWN_BY[known]]
    assert sorted(others) == []


def test_the_store_knows_only_codes_errors_and_footprints():
    assert {to for _, start, to in arrows() if start == "store"} <= STORE_KNOWS


@pytest.mark.parametrize("below", ["codes", "errors", "footprints", "store"])
def test_what_knows_no_network_names_no_torch(below):
    named = {
        (name, module)
        for name, path in MODULES.items()
        if name != "geohash_rs" and room(name) == below
        for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")))
        if module.split(".")[0] in ("torch", "torchgeo", "lightning", "timm")
    }
    assert named == set()


def test_the_store_runs_without_torch():
    code = "import sys, geohash_rs.store.code_store; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout == "False\n"


def test_code_imports_from_the_defining_module_and_never_from_a_face():
    through = {
        (name, f"{module}.{item}")
        for name, path in MODULES.items()
        for module, item in imports(ast.parse(path.read_text(encoding="utf-8")))
        if module in FACES and f"{module}.{item}" not in MODULES and item != "__version__"
    }
    assert through - {("geohash_rs", "geohash_rs.")} == set()


# --- public names ---


def test_each_public_name_is_listed_once():
    pairs = [(name, face) for face, names in PUBLIC.items() for name in names]
    twice = {name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
    assert twice == set()


@pytest.mark.parametrize("face", FACES)
def test_a_stub_names_what_the_modules_define_as_theirs(face):
    submodules = {name.rsplit(".", 1)[1] for name in MODULES if name.rpartition(".")[0] == face}
    assert submodules & set(PUBLIC[face]) == set()  # the module would hide the name
    for name, module in PUBLIC[face].items():
        listed = [
            ast.literal_eval(node.value)
            for node in ast.parse(MODULES[module].read_text(encoding="utf-8")).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        assert any(name in names for names in listed), f"{module} does not list {name}"


def test_each_public_name_can_be_imported():
    for face in ("geohash_rs", "geohash_rs.export", "geohash_rs.scenes", "geohash_rs.store"):
        module = importlib.import_module(face)
        assert sorted(module.__all__) == sorted(PUBLIC[face])
        for name in PUBLIC[face]:
            getattr(module, name)


# --- docs and examples ---


def is_public(module: str, name: str = "") -> bool:
    """Return whether docs may import this: a face, a plain module, or a name of one."""
    whole = f"{module}.{name}" if name else module
    plain = {f"geohash_rs.{item}" for item in PLAIN}
    return (
        whole in FACES
        or whole in plain
        or name in PUBLIC.get(module, {})
        or module in plain
        or module.rpartition(".")[2] in PUBLIC.get(module.rpartition(".")[0], {})  # a method
        or (module, name) == ("geohash_rs", "__version__")
    )


def python_of_page(text: str) -> Iterator[str]:
    """Take the blocks of Python out of a page of Markdown."""
    fence = r"^```(?:python|\{test(?:code|setup|cleanup)\}|\{doctest\})\n(.*?)^```"
    for block in re.findall(fence, text, re.MULTILINE | re.DOTALL):
        options = re.sub(r"\A(?::[\w-]+:.*\n)+", "", block)
        lines = options.splitlines()
        if any(line.startswith(">>> ") for line in lines):
            lines = [line[4:] for line in lines if line.startswith((">>> ", "... "))]
        yield "\n".join(lines)


def class_paths(node: object) -> Iterator[str]:
    """Take the class paths out of a parsed YAML file."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "class_path":
                yield value
            else:
                yield from class_paths(value)
    elif isinstance(node, list):
        for item in node:
            yield from class_paths(item)


def used_names(path: Path) -> set[tuple[str, str]]:
    """List what a page, a script or a settings file uses of this package: module and name."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".yaml":
        pairs = {one.rpartition(".")[::2] for one in class_paths(yaml.safe_load(text))}
    else:
        blocks = [text] if path.suffix == ".py" else list(python_of_page(text))
        trees = [ast.parse(block) for block in blocks]
        pairs = {pair for tree in trees for pair in imports(tree)}
        # a dotted name in code, also without an import of its own
        for tree in trees:
            for node in ast.walk(tree):
                dotted = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
                if re.fullmatch(r"geohash_rs(\.\w+)+", dotted):
                    pairs.add(dotted.rpartition(".")[::2])
    return {pair for pair in pairs if pair[0].split(".")[0] == "geohash_rs"}


PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").glob("*.py")),
    *sorted((ROOT / "examples").rglob("*.py")),
    *sorted((ROOT / "examples").rglob("*.yaml")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]
PAGES = [page for page in PAGES if not {"_generated", "_build"} & set(page.parts)]


def test_pages_and_examples_use_public_names_only():
    used = {(page.name, *pair) for page in PAGES for pair in used_names(page)}
    assert len(used) > 40  # the pages are really read
    assert sorted(one for one in used if not is_public(*one[1:])) == []


def test_pages_that_name_a_module_name_one_that_is_there():
    known = set(MODULES) | {f"{face}.{name}" for face, names in PUBLIC.items() for name in names}
    pattern = re.compile(r"\{py:\w+\}`~?([\w.]+)`|`(geohash_rs(?:\.\w+)+)`")
    named = {
        (page.name, first or second)
        for page in PAGES
        if page.suffix == ".md"
        for first, second in pattern.findall(page.read_text(encoding="utf-8"))
    }
    assert sorted(one for one in named if one[1] not in known) == []


def test_the_walk_over_a_page_finds_what_is_private(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nfrom geohash_rs import Archive\nimport geohash_rs.store.opened\n```\n"
        "```{testcode}\nfrom geohash_rs.hashing.network.views import VIEWS\n```\n"
        "```sh\nfrom geohash_rs import nothing\n```\n"
    )
    settings = tmp_path / "fit.yaml"
    settings.write_text("model:\n  class_path: geohash_rs.hashing.train.task.HashingTask\n")
    found = used_names(page) | used_names(settings)
    assert sorted(one for one in found if not is_public(*one)) == [
        ("geohash_rs.hashing.network.views", "VIEWS"),
        ("geohash_rs.hashing.train.task", "HashingTask"),
        ("geohash_rs.store.opened", ""),
    ]


# --- no code from files ---

RUNNERS = frozenset({  # modules that make objects or run code of what they read, or run programs
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "jsonpickle", "shelve",
    "marshal", "runpy", "code", "codeop", "imp", "zipimport", "ctypes", "cffi", "subprocess",
    "pty", "jsonargparse", "hydra", "torch.hub", "torch.jit", "torch.package", "torch.ops",
    "importlib.machinery", "lightning.pytorch.cli",
})  # fmt: skip
LOADERS = frozenset({  # functions that do, by their last name, wherever they come from
    "eval", "exec", "__import__", "import_module", "module_from_spec", "spec_from_file_location",
    "exec_module", "read_pickle", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all",
    "load_all", "UnsafeLoader", "FullLoader", "Loader", "Unpickler", "load_state_dict_from_url",
    "load_state_dict_from_hf", "add_safe_globals", "safe_globals", "load_library", "system",
    "popen", "execv", "execve", "execvp", "spawnv", "posix_spawn", "startfile", "instantiate_class",
})  # fmt: skip
READERS = frozenset({"load", "loads"})
METHODS = frozenset({"load_from_checkpoint", "get_state_dict"})
PLAIN_READERS = frozenset(
    {
        *("json.load", "json.loads", "safetensors.torch.load"),
        "geohash_rs.trust.calibration.Calibration.load",  # JSON
    }
)
WEIGHTS = {"weights_only": "True", "allow_pickle": "False", "trust_remote_code": "False"}


def meanings(tree: ast.AST) -> dict[str, str]:
    """Return what a module's names stand for: ``np`` for ``numpy``, builtins for themselves."""
    found = {name: name for name in dir(builtins)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                root = item.name if item.asname else item.name.split(".")[0]
                found[item.asname or root] = root
        elif isinstance(node, ast.ImportFrom) and node.module:
            for item in node.names:
                found[item.asname or item.name] = f"{node.module}.{item.name}"
    return found


def is_runner(whole: str) -> bool:
    """Return whether a dotted name is that of something that runs code from what it is given."""
    inside = any(f"{whole}.".startswith(f"{runner}.") for runner in RUNNERS)
    return inside or whole == "compile" or whole.rpartition(".")[2] in LOADERS


def runs_code(text: str) -> set[str]:
    """List what may run code from a file, under whatever name it was imported."""
    tree = ast.parse(text)
    names = meanings(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    said = {id(n.func): {w.arg: ast.unparse(w.value) for w in n.keywords} for n in calls}
    found = {
        f"{module}.{item}".rstrip(".")
        for module, item in imports(tree)
        if is_runner(module) or is_runner(f"{module}.{item}")
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            whole = names.get(first, "") + dot + rest
            last = whole.rpartition(".")[2]
            plain = whole in PLAIN_READERS or first not in names
            only_weights = said.get(id(node), {}).get("weights_only") == "True"
            reads = (last in READERS and not plain) or last in METHODS
            imported = is_runner(names.get(first, "")) and not hasattr(builtins, first)
            runs = (is_runner(whole) and first in names) or (reads and not only_weights)
            if runs and not imported:  # the import was listed
                found.add(whole)
        elif isinstance(node, ast.Call):
            words = said[id(node.func)]
            found |= {word for word, safe in WEIGHTS.items() if words.get(word, safe) != safe}
            if ast.unparse(node.func) == "getattr" and isinstance(node.args[1], ast.Constant):
                name = str(node.args[1].value)
                found |= {name} & {*READERS, *METHODS} or ({name} if is_runner(name) else set())
    return found


def test_nothing_runs_code_from_a_file() -> None:
    """No pickle, no eval, and only weights from a checkpoint: a file may be a stranger's."""
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in sorted(PACKAGE.rglob("*.py"))
        for name in runs_code(path.read_text(encoding="utf-8"))
    }
    assert found == {
        ("cli/__init__.py", "importlib.import_module"),  # of the command's own module
        ("cli/doctor.py", "subprocess"),  # imports each package in a process of its own
        # a configuration is the user's own, and checkpoints are checked before
        ("hashing/lightning_cli.py", "lightning.pytorch.cli.LightningCLI"),
        ("hashing/train/task.py", ".load_from_checkpoint"),
        ("scenes/process.py", "pickle"),  # whether its own error survives the way to its parent
    }


@pytest.mark.parametrize(
    "code",
    [
        "import pickle as p",
        "from joblib import load",
        "import numpy as n\nn.load(file, None, True)",
        "from numpy import load as read\nread(file)",
        "import numpy\nnumpy.load(file, allow_pickle=flag)",
        "from torch import load\nload(file)",
        "import torch as t\nt.load(file, weights_only=False)",
        "import torch\nread = torch.load",
        "import torch\ngetattr(torch, 'load')(file)",
        "import torch\ntorch.jit.load(file)",
        "from torch import hub\nhub.load(repository)",
        "from pandas import read_pickle as r",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
        "weights.get_state_dict(progress=False)",
        "import builtins as b\nb.exec(text)",
        "run = eval",
        "import importlib\nimportlib.import_module(name)",
        "import importlib.util as u\nu.spec_from_file_location(name, path)",
        "import os\nos.system(text)",
        "from lightning.pytorch.cli import instantiate_class",
    ],
)
def test_the_search_for_what_runs_code_sees_other_names(code: str) -> None:
    assert runs_code(code)


def test_one_place_prints_to_the_terminal():
    printing = {
        name
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"print", "click.echo", "click.secho", "sys.stderr.write"}
    }
    assert printing == {"geohash_rs.cli.terminal"}
