"""The house rules: what a linter cannot see."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from latewood.graph_schema.errors import CODES, LatewoodError

ROOT = Path(__file__).parents[2]
PORTIONS = ("graph_schema", "storage", "ingestion", "reasoning", "execution", "memory", "server", "clients")
FILES = sorted(path for portion in PORTIONS for path in (ROOT / portion / "latewood").rglob("*.py"))
LINES_MAX = 500
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
    "\0"
)[:-1]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_the_lists_of_portions_agree_with_the_disk() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tool = project["tool"]

    on_disk = sorted(path.parent.name for path in ROOT.glob("*/latewood"))
    assert on_disk == sorted(PORTIONS)
    assert sorted(tool["hatch"]["build"]["dev-mode-dirs"]) == on_disk
    assert sorted(part.split("/")[0] for part in tool["hatch"]["build"]["targets"]["wheel"]["packages"]) == on_disk
    assert sorted(tool["pyright"]["extraPaths"]) == on_disk
    assert sorted(name.split(".")[1] for name in tool["importlinter"]["root_packages"]) == on_disk
    assert all((ROOT / name / "latewood" / name / "py.typed").exists() for name in on_disk)
    assert not any((ROOT / name / "latewood" / "__init__.py").exists() for name in on_disk)


def test_no_file_is_longer_than_its_limit() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in FILES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }

    assert long == {}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_exported_names_exist_and_say_what_they_do(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    module = importlib.import_module(module_of(path))
    defined = {
        node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }

    for name in getattr(module, "__all__", ()):
        assert hasattr(module, name), f"{module.__name__} exports {name}, which it has not"
        if name not in defined:
            continue
        assert ast.get_docstring(defined[name]), f"{module.__name__}.{name} has no docstring"
        for member in defined[name].body if isinstance(defined[name], ast.ClassDef) else ():
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_"):
                assert ast.get_docstring(member), f"{module.__name__}.{name}.{member.name} has no docstring"


def test_what_other_modules_import_is_exported() -> None:
    modules = {module_of(path): importlib.import_module(module_of(path)) for path in FILES}
    reached: list[str] = []
    for name, path in zip(modules, FILES, strict=True):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or node.module not in modules or node.module == name:
                continue
            exported = getattr(modules[node.module], "__all__", ())
            reached += [
                f"{name} imports {node.module}.{alias.name}"
                for alias in node.names
                if alias.name not in exported and f"{node.module}.{alias.name}" not in modules
            ]

    assert reached == []


def test_every_error_has_a_code_that_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    kinds, grown = {LatewoodError}, 0
    while len(kinds) > grown:
        grown = len(kinds)
        kinds |= {child for kind in kinds for child in kind.__subclasses__()}

    assert {kind.default_code for kind in kinds} <= set(CODES)
    assert [code for code in CODES if f"| `{code}` |" not in page] == []


def test_every_code_that_is_raised_is_in_the_list() -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    raised = set(re.findall(r"""\b(?:code|default_code)(?:: str)? ?= ?"([a-z_.]+)\"""", written))

    assert "time.naive" in raised, "the pattern no longer finds codes"
    assert raised - set(CODES) == set()


def test_messages_name_a_command_only_for_who_runs_the_machine() -> None:
    # GraphQL and MCP answer with the same words, to callers who have no command line.
    operators = {"doctor", "extract", "keys", "migrate", "serve"}
    named = {
        (path.stem, found)
        for path in FILES if "clients" not in path.parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise | ast.Assign | ast.AugAssign | ast.AnnAssign)
        for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
        for found in re.findall(r"`latewood ([a-z-]+)", part.value)
    }  # fmt: skip

    assert ("writing", "doctor") in named, "the pattern no longer finds commands"
    assert {(where, found) for where, found in named if found not in operators} == set()


def test_nothing_tracked_names_a_place_that_is_not_the_projects() -> None:
    # Written in pieces, so that this file does not name them itself.
    places = [
        "/" + "work/",
        r"\.\./" + "shared",
        "files.python" + "hosted",
        "registry.npm" + "js",
        "pypi.org/" + "simple",
    ]
    hidden = re.compile("|".join(places))
    found = [
        name
        for name in TRACKED
        if (ROOT / name).is_file() and hidden.search((ROOT / name).read_text(encoding="utf-8", errors="ignore"))
    ]

    assert found == []


def test_no_todo_without_an_issue() -> None:
    found = [str(path) for path in FILES if re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8"))]

    assert found == []


def test_decision_records_have_their_four_sections() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert len(records) >= 10
    for record in records:
        text = record.read_text(encoding="utf-8")
        assert re.match(rf"# {record.name[:4]}\. \S", text), record.name
        assert re.search(r"^Status: (proposed|accepted|rejected|superseded by \[)", text, re.MULTILINE), record.name
        assert re.search(r"^Date: \d{4}-\d\d-\d\d$", text, re.MULTILINE), record.name
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Rejected"], record.name


def test_the_reference_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    assert done.returncode == 0, f"run `uv run python docs/generate.py`: {done.stdout}{done.stderr}"


def test_links_in_the_documents_lead_somewhere() -> None:
    broken: list[str] = []
    for name in TRACKED:
        if not name.endswith(".md") or name.startswith("tests/"):
            continue
        targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", (ROOT / name).read_text(encoding="utf-8"))
        folder = (ROOT / name).parent
        broken += [f"{name}: {one}" for one in targets if "://" not in one and not (folder / one).exists()]

    assert broken == []


def test_every_page_of_the_documentation_is_listed() -> None:
    listed = set(re.findall(r"\]\(([^)#\s]+)", (ROOT / "docs/README.md").read_text(encoding="utf-8")))
    pages = {
        f"{folder}/{path.name}" for folder in ("guide", "reference") for path in (ROOT / "docs" / folder).glob("*.md")
    }

    assert pages - listed == set()
