"""Tell which names that we take from rclpy and launch exist in which ROS 2 distribution.

    python3 tools/upstream_names.py rclpy:humble=PATH rclpy:jazzy=PATH launch:humble=PATH ...

Each PATH is a folder that holds the Python package: site-packages, or a release branch of
ros2-gbp/rclpy-release, ros2-gbp/launch-release or ros2-gbp/launch_ros-release (such as
``release/humble/rclpy``). Sources are parsed, never imported. Writes test/upstream_names.yaml,
which the tests hold our code to. For maintainers, when we use new names or a distribution appears:
give all distributions at once.
"""

# ruff: noqa: INP001, T201  (a script: it prints)
from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from upstream_sources import FUNCTIONS, Upstream, targets

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "test" / "upstream_names.yaml"
PACKAGES = ("rclpy", "launch", "launch_ros")
# Before the class of a value whose own class is a subclass of ours.
_OUR = "our "


def our_files() -> list[Path]:
    """Return our modules that import ROS 2's Python packages."""
    nodes = ROOT / "deeplab_miou" / "nodes"
    return sorted([*nodes.rglob("*.py"), *(ROOT / "launch").glob("*.py")])


def used_names(files: Collection[Path]) -> set[str]:
    """Return the names that files take from the packages.

    Such as ``rclpy.node.Node`` (imported), ``rclpy.qos.ReliabilityPolicy.RELIABLE`` (an attribute),
    ``rclpy.node.Node.create_timer`` and ``rclpy.node.Node.create_timer(clock)`` (a keyword) of a
    value whose type is annotated.
    """
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    passed_on = dict(pair for tree in trees for pair in _with_fallback(tree))
    for tree in trees:
        _see_through(tree, passed_on)
    classes, members = _our_classes(trees), _our_members(trees)
    names: set[str] = set().union(*(_Use(tree, classes, members).names for tree in trees))
    return names | {other for name in names if (other := instead_of(name, fallbacks(files)))}


def fallbacks(files: Iterable[Path]) -> dict[str, str]:
    """Return the module that is imported where another one is missing, by the other."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in files)
    imports = (both for tree in trees for both in _tried_imports(tree))
    return {first.module or "": other.module or "" for first, other in imports}


def _tried_imports(tree: ast.Module) -> Iterator[tuple[ast.ImportFrom, ast.ImportFrom]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and node.handlers:
            first, other = node.body[0], node.handlers[0].body[0]
            if isinstance(first, ast.ImportFrom) and isinstance(other, ast.ImportFrom):
                yield first, other


def _with_fallback(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Return the names that have a fallback, and the modules that they are of."""
    for first, _ in _tried_imports(tree):
        for alias in first.names:
            yield alias.asname or alias.name, first.module or ""


def _see_through(tree: ast.Module, passed_on: dict[str, str]) -> None:
    """Let what is imported from our own module with fallbacks come from upstream's module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith(".distributions"):
            (node.module,) = {passed_on[alias.name] for alias in node.names}


def instead_of(name: str, others: dict[str, str]) -> str | None:
    """Return what stands for a name where its module is missing; None if nothing does."""
    for module, other in others.items():
        if name.startswith(f"{module}."):
            return other + name.removeprefix(module)
    return None


@dataclass
class _Use:
    """What one file uses.

    Attributes:
        tree: the file.
        ours: the upstream base of each class of ours.
        our_members: what our own classes define.
        types: the package's name of each imported class or function, by our name for it.
        names: all that is used.
    """

    tree: ast.Module
    ours: dict[str, str]
    our_members: set[str]
    types: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        typing_only = {
            id(node)
            for branch in ast.walk(self.tree)
            if isinstance(branch, ast.If) and getattr(branch.test, "id", "") == "TYPE_CHECKING"
            for node in ast.walk(branch)
        }
        for node in ast.walk(self.tree):
            for ours, theirs in _imports(node):
                self.types[ours] = theirs
                if id(node) not in typing_only:
                    self.names.add(theirs)
        self._look(self.tree, dict(self.types), {})

    def _look(self, node: ast.AST, known: dict[str, str], fields: dict[str, str]) -> None:
        """Collect what is used in a scope.

        Args:
            node: the scope.
            known: the class of each variable, or what an imported name stands for.
            fields: the class of each attribute of ``self``.
        """
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                bases = (self._class(base) for base in child.bases)
                base = next(filter(None, bases), None)
                inner = {"self": _OUR + base.removeprefix(_OUR)} if base else {}
                self._look(child, known | inner, self._fields(child))
            elif isinstance(child, (*FUNCTIONS, ast.Lambda)):
                self._look(child, known | self._arguments(child), fields)
            else:
                self._note(child, known, fields)
                self._look(child, known, fields)

    def _note(self, node: ast.AST, known: dict[str, str], fields: dict[str, str]) -> None:
        if isinstance(node, ast.Attribute) and (of := self._named(node, known, fields)):
            self.names.add(of)
        if isinstance(node, ast.Call) and (of := self._named(node.func, known, fields)):
            self.names |= {f"{of}({each.arg})" for each in node.keywords if each.arg}

    def _named(self, node: ast.expr, known: dict[str, str], fields: dict[str, str]) -> str | None:
        """Return the package's name of what is looked up or called; None if it is our own."""
        if isinstance(node, ast.Name):
            return self.types.get(node.id)
        of = _type(node.value, known, fields) if isinstance(node, ast.Attribute) else None
        if of is None or (of.startswith(_OUR) and node.attr in self.our_members):
            return None
        return f"{of.removeprefix(_OUR)}.{node.attr}"

    def _class(self, annotation: ast.expr | None) -> str | None:
        """Return the package's class that an annotation or a base names."""
        if isinstance(annotation, ast.BinOp):
            return self._class(annotation.left)
        if isinstance(annotation, ast.Subscript):
            return self._class(annotation.value)
        name = annotation.id if isinstance(annotation, ast.Name) else ""
        if name in self.types:
            return self.types[name]
        return _OUR + self.ours[name] if name in self.ours else None

    def _arguments(self, function: ast.AST) -> dict[str, str]:
        found = {}
        for argument in (*function.args.args, *function.args.kwonlyargs):
            if of := self._class(argument.annotation):
                found[argument.arg] = of
        return found

    def _fields(self, class_: ast.ClassDef) -> dict[str, str]:
        """Return the class of each attribute that is set to an argument, or annotated."""
        found = {}
        for function in class_.body:
            if not isinstance(function, FUNCTIONS):
                continue
            arguments = self._arguments(function)
            for node in ast.walk(function):
                target = next(iter(targets(node)), None)
                if not isinstance(target, ast.Attribute):
                    continue
                of = None
                if isinstance(node, ast.AnnAssign):
                    of = self._class(node.annotation)
                elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
                    of = arguments.get(node.value.id)
                elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    of = self._class(node.value.func)
                if of:
                    found[target.attr] = of
        return found


def _type(node: ast.expr, known: dict[str, str], fields: dict[str, str]) -> str | None:
    """Return what an expression is: an imported name, or of which class its value is."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr in fields:
            return fields[node.attr]
        # A class in a class; the class of any other attribute is not known.
        if node.attr[0].isupper() and (of := _type(node.value, known, fields)):
            return f"{of}.{node.attr}"
    return None


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] in PACKAGES:
                yield alias.asname or alias.name, alias.name


def _our_classes(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return the first upstream base of each class of ours that has one."""
    theirs: dict[str, str] = {}
    bases: dict[str, list[str]] = {}
    for tree in trees:
        imported = dict(pair for node in ast.walk(tree) for pair in _imports(node))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = [getattr(getattr(base, "value", base), "id", "") for base in node.bases]
                bases[node.name] = names
                found = [imported[name] for name in names if name in imported]
                theirs |= {node.name: found[0]} if found else {}
    for _ in bases:
        for name, parents in bases.items():
            for parent in parents:
                if parent in theirs:
                    theirs.setdefault(name, theirs[parent])
    return theirs


def _our_members(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of all methods and attributes that classes of ours define."""
    found = set()
    for tree in trees:
        for class_ in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            for node in ast.walk(class_):
                if isinstance(node, FUNCTIONS):
                    found.add(node.name)
                for target in targets(node):
                    name = getattr(target, "attr", None) or getattr(target, "id", None)
                    found |= {name} if name else set()
    return found - {"__init__"}


def table(sources: dict[str, dict[str, Upstream]], names: Iterable[str]) -> str:
    """Return the table as YAML.

    Args:
        sources: a package's sources by package and distribution.
        names: as of `used_names`.
    """
    everywhere, somewhere = [], {}
    for name in sorted(names):
        upstream = sources[re.split(r"[.(]", name)[0]]
        where = [distribution for distribution, each in upstream.items() if each.has(name)]
        if len(where) == len(upstream):
            everywhere.append(name)
        else:
            somewhere[name] = where
    lines = ["# Names of rclpy and launch that we use. Written by tools/upstream_names.py."]
    lines.append("sources:")
    for package, upstream in sources.items():
        versions = ", ".join(f"{each}: {source.version()}" for each, source in upstream.items())
        lines.append(f"  {package}: {{{versions}}}")
    lines.append("only_in:")
    lines += [f"  {name}: [{', '.join(where)}]" for name, where in somewhere.items()]
    lines.append("everywhere:")
    lines += [f"  - {name}" for name in everywhere]
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the command line."""
    sources: dict[str, dict[str, Upstream]] = {package: {} for package in PACKAGES}
    for argument in sys.argv[1:]:
        found = re.fullmatch(rf"({'|'.join(PACKAGES)}):(\w+)=(.+)", argument)
        if not found:
            sys.exit(f"{argument!r} is not PACKAGE:DISTRIBUTION=PATH, such as rclpy:humble=clone")
        package, distribution, path = found.groups()
        if not Path(path, package, "__init__.py").is_file():
            sys.exit(f"{path} does not hold the Python package {package}")
        sources[package][distribution] = Upstream(Path(path), package)
    if not all(sources.values()):
        sys.exit(f"give at least one distribution of each: {', '.join(PACKAGES)}")
    TABLE.write_text(table(sources, used_names(our_files())), encoding="utf-8")
    print(f"{TABLE}: done")


if __name__ == "__main__":
    main()
