from __future__ import annotations

import itertools
import json
import math
import signal
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")

from deeplab_miou_msgs.msg import ConfusionMatrix, FrameScore, MeanIoU, StreamAccount
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from graph_support import BEST_EFFORT, EVALUATOR, LATCHED, PUBLISHER, frames
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

# Prediction [0, 1, 2, 0, 1] against ground truth [0, 1, 1, 0, 2]: mIoU 4/9.
EXAMPLE = np.array([[2, 0, 0, 0], [0, 1, 1, 0], [0, 1, 0, 0]])


def confusion(source=EVALUATOR, run="r", reset_count=0, sequence=1, times=1, **fields):
    message = ConfusionMatrix(
        source=source,
        run_id=run,
        reset_count=reset_count,
        sequence=sequence,
        frames=times,
        class_names=["road", "car", "sky"],
        counts=(times * EXAMPLE).reshape(-1).tolist(),
        images=StreamAccount(received=times + 1, evaluated=times, waiting=1),
        provenance='{"checkpoint": "x"}',
    )
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def frame(sequence, outcome="evaluated"):
    message = FrameScore(source=EVALUATOR, run_id="r", sequence=sequence, outcome=outcome)
    message.header.stamp.sec = sequence
    if outcome == "evaluated":
        message.cells = [0, 5, 6, 9]
        message.counts = [2, 1, 1, 1]
    return message


@pytest.fixture
def start(start_publisher):
    return start_publisher


@pytest.fixture
def result(graph):
    return graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED)


@pytest.fixture
def evaluator(graph):
    """Publish as an evaluator does."""

    def connect(subscribers=1):
        return graph.publisher(ConfusionMatrix, f"{EVALUATOR}/confusion", LATCHED, subscribers)

    return connect


def trigger(graph, name):
    return graph.call(Trigger, f"{PUBLISHER}/{name}")


def test_known_matrix_gives_the_known_score(start, result, evaluator):
    start()
    evaluator().publish(confusion())
    message = result.wait(frames(1))
    assert message.miou == pytest.approx(4 / 9)
    assert [entry.iou for entry in message.classes] == pytest.approx([1, 1 / 3, 0])
    assert [entry.name for entry in message.classes] == ["road", "car", "sky"]
    assert message.labelled_pixels == 5
    assert message.present_classes == 3
    assert list(message.sources) == [EVALUATOR]
    assert (message.images.received, message.images.waiting) == (2, 1)
    assert math.isnan(message.miou_lower)
    assert math.isnan(message.miou_anytime_upper)
    assert message.interval_note


def test_no_result_is_published_without_classes(start, graph, result, evaluator):
    """rqt_plot would give up on the curve of each class for good."""
    start()
    window = graph.subscribe(MeanIoU, f"{PUBLISHER}/window", LATCHED)
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    publisher = evaluator()

    def run_for_a_second():
        # Diagnostics come once a second, results could come twenty times as often.
        diagnostics.wait(after=diagnostics.wait())

    run_for_a_second()
    # An evaluator that has scored nothing yet.
    publisher.publish(confusion(times=0, images=StreamAccount()))
    assert math.isnan(result.wait().miou)
    assert window.wait().frames == 0
    publisher.publish(confusion(sequence=2))
    counted = result.wait(frames(1))
    assert trigger(graph, "reset").success
    assert math.isnan(result.wait(frames(0), after=counted).miou)
    for inbox in (result, window):
        assert {len(message.classes) for message in inbox.messages} == {3}

    # Configured anew it knows no classes any more.
    graph.node.destroy_publisher(publisher)
    for transition in ("deactivate", "cleanup"):
        assert graph.transition(PUBLISHER, transition)
    for inbox in (result, window, diagnostics):
        inbox.messages.clear()
    graph.bring_up(PUBLISHER)
    run_for_a_second()
    assert not result.messages
    assert not window.messages


def test_late_publisher_and_late_reader_get_the_latched_state(start, graph, evaluator):
    evaluator(subscribers=0).publish(confusion(times=7))
    start()
    graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED).wait(frames(7))
    # A reader that comes when nothing happens any more.
    assert graph.subscribe(MeanIoU, f"{PUBLISHER}/result", LATCHED).wait().frames == 7


def test_restart_adds_reset_replaces_and_old_news_change_nothing(start, result, evaluator):
    start()
    publisher = evaluator()
    publisher.publish(confusion(sequence=5, times=3))
    result.wait(frames(3))
    publisher.publish(confusion(run="restarted", sequence=1, times=10))
    result.wait(frames(13))
    publisher.publish(confusion(run="restarted", reset_count=1, sequence=2, times=1))
    result.wait(frames(4))
    for _ in range(2):
        publisher.publish(confusion(run="restarted", sequence=1, times=10))
        publisher.publish(confusion(sequence=4, times=2))
        publisher.publish(confusion(sequence=5, times=3))
    publisher.publish(confusion("/other", times=100))
    after = result.wait(lambda message: message.frames > 13)
    assert after.frames == 104
    assert after.miou == pytest.approx(4 / 9)
    assert list(after.sources) == [EVALUATOR, "/other"]


def test_killed_publisher_comes_back_with_all_that_evaluators_hold(start, result, evaluator):
    killed = start()
    publisher = evaluator()
    publisher.publish(confusion(times=5))
    result.wait(frames(5))
    killed.send(signal.SIGKILL)
    killed.wait()
    publisher.publish(confusion(sequence=2, times=8))
    result.messages.clear()
    start()
    assert result.wait(frames(8)).labelled_pixels == 40


def test_own_reset_counts_only_what_is_new(start, graph, result, evaluator):
    start()
    publisher = evaluator()
    publisher.publish(confusion(times=5))
    result.wait(frames(5))
    answer = trigger(graph, "reset")
    assert answer.success
    assert answer.message == "5 frames forgotten"
    publisher.publish(confusion(sequence=2, times=8))
    assert result.wait(frames(3)).labelled_pixels == 15


def test_window_holds_the_last_frames_and_missing_ones_are_counted(start, graph, result, evaluator):
    start(window_frames=2)
    window = graph.subscribe(MeanIoU, f"{PUBLISHER}/window", LATCHED)
    outcomes = graph.publisher(FrameScore, f"{EVALUATOR}/frame", 100)
    evaluator().publish(confusion(times=4, frame_sequence=0))
    result.wait(frames(4))
    for sequence, outcome in ((1, "evaluated"), (2, "queue_full"), (3, "evaluated")):
        outcomes.publish(frame(sequence, outcome))
    assert window.wait(frames(2)).missing_frames == 0
    outcomes.publish(frame(6))
    message = window.wait(lambda message: message.missing_frames == 2)
    assert (message.frames, message.labelled_pixels) == (2, 10)
    assert message.header.stamp.sec == 6
    assert message.miou == pytest.approx(4 / 9)


def test_contradictions_are_refused_and_seen_in_diagnostics(start, graph, result, evaluator):
    process = start()
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    publisher = evaluator()
    publisher.publish(confusion())
    result.wait(frames(1))
    publisher.publish(confusion("/other", class_names=["a", "b", "c"]))
    publisher.publish(confusion("/broken", counts=[1, 2]))

    def warned(message):
        (status,) = message.status
        values = {pair.key: pair.value for pair in status.values}
        return (
            status.level == DiagnosticStatus.WARN
            and values.get("refused: class_names") == "1"
            and values.get("refused: malformed") == "1"
        )

    warning = diagnostics.wait(warned)
    assert "'/other'" in process.wait_for_output("classes")
    assert "'/broken'" in process.wait_for_output("2 counts, expected 12")
    # The warning ends with its cause, and nothing was mixed.
    fine = diagnostics.wait(
        lambda message: message.status[0].level == DiagnosticStatus.OK, after=warning
    )
    assert fine.status[0].message.startswith("mIoU 0."), fine.status[0].message
    publisher.publish(confusion(sequence=2, times=2))
    assert list(result.wait(frames(2)).sources) == [EVALUATOR]


def test_a_doubtful_score_is_a_warning(start, graph, result, evaluator):
    node = start()
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    shuffled = EXAMPLE[[1, 2, 0]].reshape(-1)
    evaluator().publish(confusion(times=10, counts=shuffled.tolist(), ignored_pixels=0))
    result.wait(frames(10))
    told = diagnostics.wait(lambda message: "agree barely" in message.status[0].message)
    assert told.status[0].level == DiagnosticStatus.WARN
    assert "(Cohen's kappa -" in told.status[0].message
    assert node.stop()[0] == 0
    assert "[WARN]" in node.output
    assert "doubtful: predictions and labels agree barely better than chance" in node.output


def test_evaluators_of_the_same_name_are_a_warning(start, graph, result, evaluator):
    start()
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    publisher = evaluator()
    for counted, run in enumerate(["a", "b", "a", "b", "a"], 1):
        times = (counted + 1) // 2
        publisher.publish(confusion(run=run, sequence=times, times=times))
        result.wait(frames(counted))
    told = diagnostics.wait(lambda message: "under the name" in message.status[0].message)
    assert told.status[0].level == DiagnosticStatus.WARN
    assert told.status[0].message.startswith(f"several evaluators run under the name {EVALUATOR}")


def test_criteria_are_judged_while_it_runs_and_in_the_report(
    start, graph, result, evaluator, tmp_path
):
    lines = (
        "{score: miou, at_least: 0.4}",
        "{score: iou, class: sky, at_least: 0.5}",
        "{score: frames, at_least: 2}",
        "{score: latency_p95, at_most: 0.25}",
    )
    (tmp_path / "criteria.yaml").write_text("criteria:\n" + "".join(f"- {x}\n" for x in lines))
    node = start(criteria=str(tmp_path / "criteria.yaml"), report_directory=str(tmp_path / "out"))
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    outcomes = graph.publisher(FrameScore, f"{EVALUATOR}/frame", 10)
    publisher = evaluator()
    publisher.publish(confusion())
    result.wait(frames(1))
    slow = frame(1)
    slow.latency_seconds = 0.5
    outcomes.publish(slow)

    def judged(*missed):
        def found(message):
            (status,) = message.status
            values = {pair.key: pair.value for pair in status.values}
            return status.name == f"{PUBLISHER}: criteria" and missed == tuple(
                key for key, value in values.items() if value.startswith("not met: ")
            )

        return found

    # EXAMPLE has sky wrong throughout.
    sky, two, quick = (
        "iou of sky at least 0.5",
        "frames at least 2",
        "latency_p95 at most 0.25",
    )
    told = diagnostics.wait(judged(sky, two, quick))
    assert told.status[0].level == DiagnosticStatus.WARN
    assert told.status[0].message.startswith(f"not met: {sky}: 0; {two}: 1; {quick}: 0.5")
    publisher.publish(confusion(sequence=2, times=2))
    diagnostics.wait(judged(sky, quick))
    # A third frame, in which sky is right.
    right = (2 * EXAMPLE + np.diag([0, 0, 9, 0])[:3]).reshape(-1).tolist()
    publisher.publish(confusion(sequence=3, times=3, counts=right))
    for sequence in range(2, 60):
        outcomes.publish(frame(sequence))
    told = diagnostics.wait(judged())
    assert told.status[0].level == DiagnosticStatus.OK
    assert told.status[0].message == "all 4 criteria are met"
    assert node.stop()[0] == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [each["passed"] for each in report["criteria"]] == [True] * 4


def test_silence_names_what_does_publish(start, graph):
    graph.publisher(ConfusionMatrix, "/left/confusion", LATCHED, subscribers=0)
    process = start(startup_timeout=0.5, autostart=False)
    graph.bring_up(PUBLISHER)
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    status = diagnostics.wait(lambda message: "/left/confusion" in message.status[0].message)
    assert status.status[0].level == DiagnosticStatus.WARN
    assert f"no evaluator heard on {EVALUATOR}/confusion" in process.wait_for_output("/left")


def test_incompatible_offer_is_a_warning_that_names_both(start, graph):
    process = start()
    graph.publisher(ConfusionMatrix, f"{EVALUATOR}/confusion", BEST_EFFORT, subscribers=0)
    line = process.wait_for_output(f"{EVALUATOR}/confusion: we request")
    assert "we request durability transient_local, a publisher offers volatile" in line or (
        "we request reliability reliable, a publisher offers best_effort" in line
    )


def test_confusion_image_is_drawn_for_whoever_watches(start, graph, result, evaluator):
    start()
    publisher = evaluator()
    publisher.publish(confusion())
    result.wait(frames(1))
    pictures = graph.subscribe(Image, f"{PUBLISHER}/confusion_image", 1)
    graph.wait_until(lambda: graph.node.count_subscribers(f"{PUBLISHER}/confusion_image"))
    counts = itertools.count(2)

    def news():
        count = next(counts)
        publisher.publish(confusion(sequence=count, times=count))

    graph.repeat_until(news, lambda: pictures.messages)
    picture = pictures.messages[0]
    assert picture.encoding == "rgb8"
    assert picture.step == 3 * picture.width
    assert len(picture.data) == picture.height * picture.step


def test_report_is_saved_on_request(start, graph, result, evaluator, tmp_path):
    folder = tmp_path / "reports"
    start(report_directory=str(folder))
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    diagnostics.wait()
    answer = trigger(graph, "save_report")
    assert not answer.success
    assert "nothing has been counted" in answer.message
    # That is the answer to who asked, no fault of the node.
    told = diagnostics.wait(after=diagnostics.wait(after=diagnostics.messages[-1]))
    assert told.status[0].level != DiagnosticStatus.ERROR
    evaluator().publish(confusion(times=2))
    result.wait(frames(2))
    answer = trigger(graph, "save_report")
    assert answer.success, answer.message
    assert str(folder / "report.json") in answer.message
    report = json.loads((folder / "report.json").read_text())
    assert report["miou"] == pytest.approx(4 / 9)
    assert report["frames"] == 2
    assert report["confusion"] == (2 * EXAMPLE).tolist()
    assert report["provenance"]["checkpoint"] == "x"
    assert report["provenance"]["mode"] == "live"
    assert sorted(path.name for path in folder.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]


def test_report_that_cannot_be_written_is_an_answer_and_an_error(
    start, graph, result, evaluator, tmp_path
):
    folder = tmp_path / "reports"
    start(report_directory=str(folder))
    evaluator().publish(confusion())
    result.wait(frames(1))
    folder.rmdir()
    folder.write_text("in the way")
    answer = trigger(graph, "save_report")
    assert not answer.success
    assert str(folder) in answer.message
    diagnostics = graph.subscribe(DiagnosticArray, "/diagnostics")
    failed = diagnostics.wait(lambda message: message.status[0].level == DiagnosticStatus.ERROR)
    folder.unlink()
    assert trigger(graph, "save_report").success
    diagnostics.wait(lambda message: message.status[0].level == DiagnosticStatus.OK, after=failed)


def test_lifecycle_round_and_round(start, graph, result, evaluator):
    process = start(autostart=False)
    evaluator(subscribers=0).publish(confusion(times=3))
    for _ in range(2):
        assert graph.state(PUBLISHER) == "unconfigured"
        assert graph.transition(PUBLISHER, "configure")
        assert graph.transition(PUBLISHER, "activate")
        result.wait(frames(3))
        result.messages.clear()
        assert graph.transition(PUBLISHER, "deactivate")
        assert graph.state(PUBLISHER) == "inactive"
        assert graph.transition(PUBLISHER, "activate")
        result.wait(frames(3))
        result.messages.clear()
        assert graph.transition(PUBLISHER, "deactivate")
        assert graph.transition(PUBLISHER, "cleanup")
    # What a state does not allow is refused, and the node lives.
    assert not graph.transition(PUBLISHER, "activate")
    assert graph.transition(PUBLISHER, "shutdown")
    assert process.stop()[0] == 0


def test_bad_parameter_is_one_line_and_can_be_mended(start, graph, result, evaluator):
    process = start(absent_classes="ignore", publish_period="often")
    line = process.wait_for_output("cannot configure")
    assert "absent_classes is 'ignore', expected one of 'exclude', 'zero'" in line
    assert "publish_period is 'often', expected a number" in line
    assert "Traceback" not in process.output
    assert graph.state(PUBLISHER) == "unconfigured"
    assert "one of" in graph.set_parameter(PUBLISHER, "absent_classes", "none")
    assert graph.set_parameter(PUBLISHER, "absent_classes", "zero") == ""
    assert graph.set_parameter(PUBLISHER, "publish_period", 1) == ""
    assert graph.transition(PUBLISHER, "configure")
    assert graph.transition(PUBLISHER, "activate")
    evaluator().publish(confusion())
    result.wait(frames(1))
    assert "clean the node up" in graph.set_parameter(PUBLISHER, "window_frames", 5)


def test_unwritable_report_folder_fails_configure(start, graph, tmp_path):
    (tmp_path / "file").touch()
    process = start(report_directory=str(tmp_path / "file" / "reports"))
    assert "cannot be written to" in process.wait_for_output("cannot configure")
    assert graph.state(PUBLISHER) == "unconfigured"


def test_scoring_changes_while_running(start, graph, result, evaluator):
    start()
    counts = np.zeros((3, 4), int)
    counts[0, 0] = counts[1, 1] = 4
    evaluator().publish(confusion(counts=counts.reshape(-1).tolist()))
    assert result.wait(frames(1)).miou == 1
    assert graph.set_parameter(PUBLISHER, "absent_classes", "zero") == ""
    assert result.wait(lambda message: message.miou < 1).miou == pytest.approx(2 / 3)
    assert "3 numbers" in graph.set_parameter(PUBLISHER, "class_weights", [1.0])
    assert graph.set_parameter(PUBLISHER, "class_weights", [1.0, 1.0, 2.0]) == ""
    result.wait(lambda message: message.weighted_miou == pytest.approx(0.5))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_it_in_order_with_a_report(number, start, result, evaluator, tmp_path):
    process = start(report_directory=str(tmp_path / "out"))
    publisher = evaluator()
    publisher.publish(confusion(times=6))
    result.wait(frames(6))
    began = time.monotonic()
    process.send(number)
    # The evaluator's last word, while the publisher is already ending, still counts.
    publisher.publish(confusion(sequence=2, times=9))
    assert process.wait() == 0
    assert time.monotonic() - began < 3
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames"] == 9
    assert result.wait(frames(9))
    assert "over 9 frames" in process.output
    assert "Traceback" not in process.output


def test_signal_before_anything_is_counted_leaves_an_older_report(start, graph, tmp_path):
    (tmp_path / "report.json").write_text("old")
    process = start(report_directory=str(tmp_path))
    graph.wait_for_state(PUBLISHER, "active")
    status, took_s = process.stop()
    assert status == 0
    assert took_s < 8
    assert process.lines("nothing was counted")
    assert (tmp_path / "report.json").read_text() == "old"


def test_signal_before_anything_is_configured(start, graph):
    process = start(autostart=False)
    assert graph.state(PUBLISHER) == "unconfigured"
    status, took_s = process.stop(signal.SIGTERM)
    assert status == 0
    assert took_s < 8
