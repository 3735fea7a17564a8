"""Build message packages of others that tests publish, into the environment of `make setup`.

    python3 tools/field_messages.py

No wheel has them. The definitions are those of test/messages: the fields that upstream's packages
have, under their names, so that what is tested is what users send. A package that is installed
already, as with a sourced ROS 2, is left alone. Without them the tests that need them skip.
"""

# ruff: noqa: INP001  (a script)
from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bootstrap import ROOT, set_up
from steps import StopError

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap import Environment

DEFINITIONS = ROOT / "test" / "messages"
DEPENDENCIES = ("builtin_interfaces", "std_msgs")


def write_package(name: str, target: Path) -> None:
    """Write the sources of a message package.

    Args:
        name: a folder of test/messages.
        target: where packages are written.
    """
    package = target / name
    (package / "msg").mkdir(parents=True, exist_ok=True)
    files = []
    for definition in sorted((DEFINITIONS / name).glob("*.msg")):
        (package / "msg" / definition.name).write_bytes(definition.read_bytes())
        files.append(f'"msg/{definition.name}"')
    found = "\n".join(f"find_package({each} REQUIRED)" for each in DEPENDENCIES)
    (package / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.14)\nproject({name})\n"
        f"find_package(ament_cmake REQUIRED)\nfind_package(rosidl_default_generators REQUIRED)\n"
        f"{found}\nrosidl_generate_interfaces(${{PROJECT_NAME}} {' '.join(files)}\n"
        f"  DEPENDENCIES {' '.join(DEPENDENCIES)})\nament_package()\n",
        encoding="utf-8",
    )
    depends = "\n".join(f"  <depend>{each}</depend>" for each in DEPENDENCIES)
    (package / "package.xml").write_text(
        f'<package format="3">\n  <name>{name}</name>\n  <version>0.0.0</version>\n'
        "  <description>For tests only.</description>\n"
        '  <maintainer email="maintainers@deeplab-miou.invalid">nobody</maintainer>\n'
        "  <license>Apache-2.0</license>\n"
        "  <buildtool_depend>ament_cmake</buildtool_depend>\n"
        "  <buildtool_depend>rosidl_default_generators</buildtool_depend>\n"
        f"{depends}\n  <member_of_group>rosidl_interface_packages</member_of_group>\n"
        "  <export><build_type>ament_cmake</build_type></export>\n</package>\n",
        encoding="utf-8",
    )


def build(environment: Environment) -> None:
    """Build what is not there."""
    sources = environment.state / "field_messages"
    names = [each.name for each in sorted(DEFINITIONS.iterdir()) if each.is_dir()]
    missing = [name for name in names if not environment.imports(f"{name}.msg")]
    for name in missing:
        write_package(name, sources)
    if missing:
        environment.colcon(*missing, base_paths=[sources])


def main() -> None:
    """Run the command line."""
    try:
        environment = set_up(dev=True)
        build(environment)
    except StopError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
