import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "deeplab_miou"
VERSION = re.search(r'__version__ = "(.+)"', Path(PACKAGE, "__init__.py").read_text())[1]


def share_files() -> list[tuple[str, list[str]]]:
    """Return every file that belongs into the package's share folder, by target folder."""
    files = [
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ]
    for top in ("config", "launch", "security"):
        for folder in (
            Path(top),
            *(path for path in sorted(Path(top).rglob("*")) if path.is_dir()),
        ):
            names = [
                str(path)
                for path in sorted(folder.iterdir())
                if path.suffix in {".json", ".perspective", ".py", ".xml", ".yaml"}
            ]
            if names:
                files.append((f"share/{PACKAGE}/{folder}", names))
    # The definitions of our messages, to write them without ROS 2.
    messages = Path("deeplab_miou_msgs", "msg")
    files.append((f"share/{PACKAGE}/{messages}", [str(p) for p in sorted(messages.glob("*.msg"))]))
    return files


setup(
    name=PACKAGE,
    version=VERSION,
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={
        PACKAGE: [
            "py.typed",
            "demo/*.safetensors",
            "report/*.html",
            "report/*.css",
            "comparison/*.html",
            "watch/*.css",
            "watch/*.html",
            "watch/*.js",
        ]
    },
    data_files=share_files(),
    zip_safe=False,
    maintainer="deeplab_miou maintainers",
    maintainer_email="maintainers@deeplab-miou.invalid",
    description="Streaming mIoU of a DeepLabv3+ network on live ROS 2 topics and rosbag2 replays.",
    license="Apache-2.0",
    python_requires=">=3.10",
    # Tells `colcon test` to run pytest; the pinned test tools are in requirements-dev.txt.
    extras_require={"test": ["pytest"], "video": ["av>=17.1"]},
    entry_points={
        "console_scripts": [
            f"bag_replayer = {PACKAGE}.nodes.replayer.__main__:main",
            f"deeplab-miou = {PACKAGE}.__main__:main",
            f"deeplab_evaluator = {PACKAGE}.nodes.evaluator.__main__:main",
            f"miou_comparer = {PACKAGE}.nodes.comparer.__main__:main",
            f"miou_foxglove = {PACKAGE}.nodes.foxglove.__main__:main",
            f"miou_single_process = {PACKAGE}.nodes.single_process.__main__:main",
            f"miou_watch = {PACKAGE}.nodes.watch.__main__:main",
            f"miou_publisher = {PACKAGE}.nodes.publisher.__main__:main",
        ],
    },
)
