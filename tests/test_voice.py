"""The voice of CONTRIBUTING.md, held: names say what a thing is, classes are unique, every field has its own line."""

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import chain_of_zoom

ROOT = Path(chain_of_zoom.__file__).parent
PRONOUNS = frozenset({
    *("found", "made", "each", "kept", "told", "left", "given", "taken", "known", "seen", "said", "done", "shown"),
    *("wanted", "asked", "begun", "ended", "parted", "written", "what", "who", "which", "how", "why", "whose"),
    *("some", "those", "mine", "theirs", "other", "others", "this", "that", "one", "ones"),
    *("both", "rest", "most", "several"),
})  # fmt: skip
NOT_VERBS = frozenset({
    *("told", "scored", "named", "shown", "arranged", "placed", "fitted", "looked", "parted", "naming"),
    *("crops", "looks", "charts", "values", "texts", "means", "fight"),
})  # fmt: skip


@cache
def parse_modules() -> dict[str, ast.Module]:
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def walk() -> Iterator[tuple[str, ast.AST]]:
    for path, tree in parse_modules().items():
        for node in ast.walk(tree):
            yield path, node


def test_variables_name_their_content() -> None:
    """Fewer than 8 of 1000 assignments: record keys and public names of long ago stay as they are."""
    names = [(path, node) for path, node in walk() if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    vague = [f"{path}:{node.lineno} {node.id}" for path, node in names if node.id in PRONOUNS]
    assert len(vague) < 8 * len(names) / 1000, "\n".join(vague)


def test_no_class_name_occurs_twice() -> None:
    classes = [node.name for _, node in walk() if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert [name for name, times in Counter(classes).items() if times > 1] == []


def test_functions_are_verbs() -> None:
    nouns = [
        f"{path}:{node.lineno} {node.name}"
        for path, node in walk()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.strip("_") in NOT_VERBS
    ]
    assert nouns == []


def has_fields(node: ast.AST) -> bool:
    if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
        return False
    bases = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
    decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    return "dataclass" in decorators or bool(bases & {"Struct", "NamedTuple", "TypedDict"})


def is_public_field(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.AnnAssign)
        and "ClassVar" not in ast.unparse(node.annotation)
        and not ast.unparse(node.target).startswith("_")
    )


def is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def test_every_field_has_its_own_line_of_documentation() -> None:
    bare = [
        f"{path}:{field.lineno} {node.name}.{ast.unparse(field.target)}"
        for path, node in walk()
        if isinstance(node, ast.ClassDef) and has_fields(node)
        for field, following in zip(node.body, [*node.body[1:], None], strict=True)
        if isinstance(field, ast.AnnAssign) and is_public_field(field) and not is_text(following)
    ]
    assert bare == []
