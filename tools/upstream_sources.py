"""What the sources of a Python package define, without importing them."""

# ruff: noqa: INP001  (a script's module)
from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# A class whose definition is compiled, and that of an instance's unknown attributes.
_OPAQUE = object()


def targets(node: ast.AST) -> list[ast.expr]:
    """Return what an assignment assigns to."""
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AnnAssign) else []


class Upstream:
    """What a package's sources define.

    Args:
        folder: that holds the package.
        package: its name.
    """

    def __init__(self, folder: Path, package: str) -> None:
        self.folder = folder
        self.package = package
        self._trees: dict[str, ast.Module | None] = {}

    def has(self, name: str) -> bool:
        """Tell whether a name as of `used_names` exists."""
        path, _, keyword = name.rstrip(")").partition("(")
        *parts, last = path.split(".")
        if not parts:
            return self._tree(path) is not None
        owner = self._find(parts)
        if owner is None or owner is _OPAQUE:
            return owner is _OPAQUE
        found = self._member(owner, last)
        if found is None and isinstance(owner, str):
            return not keyword and self._tree(f"{owner}.{last}") is not None
        return found is not None and (not keyword or self._takes(found, keyword))

    def version(self) -> str:
        """Return the package's version, as package.xml or pip has it."""
        manifest = self.folder / "package.xml"
        if manifest.is_file():
            return re.findall("<version>(.+)</version>", manifest.read_text(encoding="utf-8"))[0]
        (info,) = self.folder.glob(f"ros_{self.package}-*.dist-info")
        return info.name.removesuffix(".dist-info").split("-")[1]

    def _tree(self, module: str) -> ast.Module | None:
        if module not in self._trees:
            path = self.folder.joinpath(*module.split("."))
            files = (path / "__init__.py", path.with_suffix(".py"))
            file = next((each for each in files if each.is_file()), None)
            self._trees[module] = ast.parse(file.read_bytes()) if file else None
        return self._trees[module]

    def _find(self, parts: list[str]) -> object:
        """Return a module's name or the definition that a path leads to; None if there is none."""
        owner: object = parts[0] if self._tree(parts[0]) else None
        for part in parts[1:]:
            if owner is None or owner is _OPAQUE:
                return owner
            found = self._member(owner, part)
            if found is None and isinstance(owner, str) and self._tree(f"{owner}.{part}"):
                found = f"{owner}.{part}"
            owner = found
        return owner

    def _member(self, owner: object, name: str) -> object:
        """Return the definition of a name in a module or a class."""
        if isinstance(owner, str):
            return self._in_module(owner, name)
        if isinstance(owner, tuple) and isinstance(owner[1], ast.ClassDef):
            return self._in_class(*owner, name)
        return _OPAQUE  # a value: its class is not followed

    def _in_module(self, module: str, name: str) -> object:
        tree = self._tree(module)
        found: object = None
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        found = found or self._imported(module, node, alias.name)
            elif isinstance(node, (*FUNCTIONS, ast.ClassDef)) and node.name == name:
                found = module, node
            elif any(getattr(each, "id", "") == name for each in targets(node)):
                found = found or _OPAQUE
        return found

    def _imported(self, module: str, node: ast.ImportFrom, name: str) -> object:
        source = node.module or ""
        if node.level:
            is_package = (self.folder.joinpath(*module.split(".")) / "__init__.py").is_file()
            up = node.level - is_package
            base = module.split(".")[: -up or None]
            source = ".".join([*base, *filter(None, [source])])
        if source.split(".")[0] != self.package:
            return _OPAQUE
        if self._tree(f"{source}.{name}"):
            return f"{source}.{name}"
        return self._in_module(source, name)

    def _in_class(self, module: str, class_: ast.ClassDef, name: str) -> object:
        for node in class_.body[::-1]:  # of overloads, the last is the definition
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and node.name == name:
                return module, node
        if _is_set(class_, name):
            return _OPAQUE
        for base in class_.bases:
            bare = base.value if isinstance(base, ast.Subscript) else base
            if not isinstance(bare, ast.Name) or bare.id in _KNOWN_BASES:
                continue
            owner = self._in_module(module, bare.id)
            found = self._member(owner, name) if owner is not None else None
            if found is not None:
                return found
        return None

    def _takes(self, found: object, keyword: str) -> bool:
        if not isinstance(found, tuple):
            return True
        module, node = found
        if isinstance(node, ast.ClassDef):
            made = self._in_class(module, node, "__init__") or self._in_class(
                module, node, "__new__"
            )
            if isinstance(made, tuple) and made[1].args.kwarg and self._in_class(*found, keyword):
                return True
            return made is _OPAQUE or (made is not None and _names(made[1], keyword, strict=True))
        return _names(node, keyword, strict=False)


_KNOWN_BASES = ("object", "Exception", "Enum", "IntEnum", "Generic", "ContextManager", "Protocol")


def _is_set(class_: ast.ClassDef, name: str) -> bool:
    """Tell whether a class, or an instance in any of its methods, gets an attribute."""
    for node in ast.walk(class_):
        for target in targets(node):
            if name in (getattr(target, "attr", ""), getattr(target, "id", "")):
                return True
    return False


def _names(function: ast.FunctionDef, keyword: str, *, strict: bool) -> bool:
    arguments = (*function.args.args, *function.args.kwonlyargs)
    return any(each.arg == keyword for each in arguments) or bool(
        function.args.kwarg and not strict
    )
