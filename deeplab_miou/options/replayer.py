"""Options of ``bag_replayer``."""

from __future__ import annotations

from dataclasses import dataclass

from deeplab_miou.options.declaration import option

_LONGEST_S = 1e6


@dataclass(frozen=True)
class ReplayerOptions:
    """What is played, and how."""

    bag: str = option("", "rosbag2 to play: a folder, an .mcap file or a .db3 file")
    topics: tuple[str, ...] = option(
        (), "topics to play", unset="all whose message types are installed", example=("/a", "/b")
    )
    paced: bool = option(
        default=False,
        text="play as fast as the evaluators can score, without losing a message; ignores rate",
    )
    rate: float = option(
        1.0,
        "playback speed, unless paced; 2 plays twice as fast as recorded",
        minimum=0.001,
        maximum=1000.0,
    )
    start: float = option(
        0.0, "start this many seconds after the first message", minimum=0, maximum=_LONGEST_S
    )
    duration: float = option(
        0.0,
        "seconds to play, in recorded time",
        minimum=0,
        maximum=_LONGEST_S,
        unset="to the end",
    )
    loop: bool = option(default=False, text="start over at the end, until interrupted")
    clock_rate: float = option(
        40.0,
        "messages on /clock per second (of recorded time if paced, otherwise of real time); 0: no "
        "/clock",
        minimum=0,
        maximum=10_000,
    )
    evaluators: tuple[str, ...] = option(
        ("/deeplab_evaluator",), "evaluators that a paced replay waits for"
    )
    in_flight: int = option(
        8,
        "if paced, maximum number of messages in transit to an evaluator; must not exceed its "
        "input_depth",
        minimum=1,
        maximum=1000,
    )
    publisher: str = option(
        "", "miou_publisher that should save its report at the end", unset="none"
    )
    startup_timeout: float = option(
        60.0,
        "seconds to wait for evaluators, publisher and subscribers before the first message",
        minimum=0,
        maximum=_LONGEST_S,
    )
    stall_timeout: float = option(
        60.0,
        "give up a paced replay after this many seconds without progress",
        minimum=0.1,
        maximum=_LONGEST_S,
    )
    wait_for_subscribers: tuple[str, ...] = option(
        (),
        "topics that must have a subscriber before the first message",
        unset="none",
        example=("/a",),
    )
    progress: bool = option(
        default=True,
        text="show progress on stderr: a bar on a terminal, otherwise a line every 10 s",
    )
