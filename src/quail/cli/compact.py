"""Compiling a module for a bundle: what nobody looks at while a program runs is left out (decision 0009).

Docstrings of functions and classes go (that of the module stays: it is a program's usage), annotations are not evaluated, and
so classes that only annotations name need not be imported: loading `_collections_abc` costs as much as half of Quail.
"""

import __future__

import ast
from types import CodeType

_ANNOTATIONS_ONLY = "_collections_abc"


def compiled(source: bytes, path: str) -> CodeType:
    """The code of a module; `path` is for tracebacks."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            node.body[0] = ast.copy_location(ast.Pass(), node.body[0])
    used = _Used()
    used.visit(tree)
    tree.body = [node for node in tree.body if not _is_for_annotations(node, used.names)]
    flags = __future__.annotations.compiler_flag
    code = compile(tree, path, "exec", flags=flags, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def _is_for_annotations(node: ast.stmt, used: set[str]) -> bool:
    if not isinstance(node, ast.ImportFrom) or node.module != _ANNOTATIONS_ONLY:
        return False
    return not any((alias.asname or alias.name) in used for alias in node.names)


class _Used(ast.NodeVisitor):
    """The names that are looked up when the module runs: all but those in annotations."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        self.names.add(node.id)

    def visit_arg(self, node: ast.arg) -> None:
        """Its annotation is left out."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)
