"""Foxglove's server among real nodes: a WebSocket client gets what the messages say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
from collections import Counter

import aiohttp
import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("deeplab_miou_msgs", reason="the messages are not built")
pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")

import cv2
from deeplab_miou_msgs.msg import MeanIoU
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from graph_support import BEST_EFFORT, EVALUATOR, IMAGE, LATCHED, PUBLISHER, Camera
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String, UInt8MultiArray

LIMIT_S = 60.0
RESULT = f"{PUBLISHER}/result"


@pytest.fixture
def server(ros_process):
    """Start the node; return process and address."""

    def start(**parameters):
        process = ros_process("deeplab_miou.nodes.foxglove", parameters={"port": 0, **parameters})
        return process, address_of(process)

    return start


def address_of(process):
    return re.search(r"ws://[^;\s]+", process.wait_for_output("connect Foxglove to"))[0]


class Viewer:
    """Speaks the protocol as Foxglove does, and decodes messages by what is advertised alone.

    It listens all the time, as Foxglove does: a test that waits for something else must not keep it
    from hearing that a subscription was refused.
    """

    def __init__(self, socket_):
        self._socket = socket_
        self.channels = {}
        self.gone = []
        self._stores = {}
        self._subscribed = {}
        self._wanted = set()
        self.seen, self.offers = Counter(), Counter()
        self._heard = asyncio.Queue()

    async def listen(self):
        """Take what the server sends, until the socket closes or something is wrong with it."""
        try:
            while True:
                self._heard.put_nowait(await self._take(await self._socket.receive()))
        except Exception as error:  # noqa: BLE001 - raised where the test reads
            self._heard.put_nowait(error)

    async def read(self):
        """Return the next thing that was heard: topic and message if it is one, else None."""
        heard = await self._heard.get()
        if isinstance(heard, Exception):
            raise heard
        return heard

    async def _take(self, frame):
        assert frame.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), frame
        if frame.type is aiohttp.WSMsgType.TEXT:
            content = json.loads(frame.data)
            if content["op"] == "advertise":
                self.channels |= {each["topic"]: each for each in content["channels"]}
                self.offers.update(each["topic"] for each in content["channels"])
                # A topic that comes back has a new channel.
                for topic in self._wanted & {each["topic"] for each in content["channels"]}:
                    await self._ask(topic)
            elif content["op"] == "unadvertise":
                self.gone += content["channelIds"]
            elif unknown := re.match(r"Unknown channel ID: (\d+)", content.get("message", "")):
                # foxglove-sdk 0.30 offers a channel a moment before it can be subscribed to.
                for topic in self._wanted:
                    if self.channels[topic]["id"] == int(unknown[1]):
                        await self._ask(topic)
            return None
        op, number, _time_ns = struct.unpack_from("<BIQ", frame.data)
        assert op == 1
        channel = self._subscribed[number]
        self.seen[channel["topic"]] += 1
        return channel["topic"], self._decode(channel, frame.data[13:])

    def _decode(self, channel, data):
        assert (channel["encoding"], channel["schemaEncoding"]) == ("cdr", "ros2msg")
        kind = channel["schemaName"]
        if kind not in self._stores:
            store = get_typestore(Stores.EMPTY)
            store.register(get_types_from_msg(channel["schema"], kind))
            self._stores[kind] = store
        return self._stores[kind].deserialize_cdr(bytes(data), kind)

    async def find(self, topic):
        while topic not in self.channels or self.channels[topic]["id"] in self.gone:
            await self.read()
        return self.channels[topic]

    async def subscribe(self, topic):
        await self.find(topic)
        self._wanted.add(topic)
        await self._ask(topic)

    async def _ask(self, topic):
        # foxglove-sdk offers a channel a moment before it accepts subscriptions to it, and nothing
        # tells when it does.
        await asyncio.sleep(0.1)
        channel = self.channels[topic]
        number = 100 + channel["id"]
        self._subscribed[number] = channel
        subscriptions = [{"id": number, "channelId": channel["id"]}]
        await self._socket.send_json({"op": "subscribe", "subscriptions": subscriptions})

    async def unsubscribe(self, topic):
        self._wanted.discard(topic)
        number = 100 + self.channels[topic]["id"]
        await self._socket.send_json({"op": "unsubscribe", "subscriptionIds": [number]})

    async def wait(self, topic, right=lambda _: True):
        """Return the first message of a topic that is right."""
        while True:
            got = await self.read()
            if got and got[0] == topic and right(got[1]):
                return got[1]


@contextlib.asynccontextmanager
async def viewing(address):
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(address, protocols=["foxglove.sdk.v1"], max_msg_size=0) as socket_,
    ):
        viewer = Viewer(socket_)
        listening = asyncio.create_task(viewer.listen())
        try:
            yield viewer
        finally:
            listening.cancel()


def visit(address, steps, limit_s=LIMIT_S):
    """Run steps with a viewer."""

    async def run():
        async with viewing(address) as viewer:
            return await steps(viewer)

    return asyncio.run(asyncio.wait_for(run(), limit_s))


async def until(condition):
    """Wait until something is true of the graph, which tells nobody when it changes."""
    for _ in range(int(LIMIT_S / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("not true in time")


def test_a_viewer_gets_the_score_that_was_counted(ros_process, graph, server):
    topic = {"source": "topic", "labels": "cityscapes_train_ids", "queue_size": 100}
    ros_process("deeplab_miou.nodes.evaluator", parameters=topic)
    ros_process("deeplab_miou.nodes.publisher", parameters={"publish_period": 0.05})
    _, address = server()
    camera = Camera(graph).listen()
    random = np.random.default_rng(1)
    truth = random.integers(0, 19, (40, 6, 8)).astype(np.uint8)
    wrong = random.random(truth.shape) < 0.3
    predicted = np.where(wrong, random.integers(0, 19, truth.shape), truth).astype(np.uint8)

    async def steps(viewer):
        await viewer.subscribe(RESULT)
        await viewer.subscribe(f"{EVALUATOR}/frame")
        # The camera's, the publisher's and the server's.
        await asyncio.to_thread(camera.heard_by, 3)
        for sec in range(40):
            camera.send(200 + sec, predicted[sec], truth[sec])
        frame = await viewer.wait(f"{EVALUATOR}/frame")
        return await viewer.wait(RESULT, lambda message: message.frames == 40), frame

    message, frame = visit(address, steps)
    # Counted independently of everything that is tested.
    matrix = np.zeros((19, 20), int)
    np.add.at(matrix, (truth.ravel(), predicted.ravel()), 1)
    hits = np.diag(matrix)
    iou = hits / (matrix.sum(1) + matrix.sum(0)[:19] - hits)
    assert message.miou == pytest.approx(iou.mean())
    assert [each.iou for each in message.classes] == pytest.approx(iou.tolist())
    assert message.miou_lower < message.miou < message.miou_upper
    assert [each.name for each in message.classes][:2] == ["road", "sidewalk"]
    assert message.images.received == 40
    assert frame.outcome == "evaluated"
    assert sum(frame.counts) == 48


def test_a_topic_is_subscribed_only_while_somebody_watches_it(graph, server):
    publisher = graph.node.create_publisher(String, "/talk", 10)
    other = graph.node.create_publisher(String, "/other", 10)
    _, address = server()

    async def steps(viewer):
        await viewer.find("/talk")
        await viewer.find("/other")
        assert publisher.get_subscription_count() == 0
        await viewer.subscribe("/talk")
        await until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data="hello"))
        assert (await viewer.wait("/talk")).data == "hello"
        async with viewing(address) as second:
            await second.subscribe("/talk")
            await second.subscribe("/other")
            await until(lambda: other.get_subscription_count() == 1)
            # One for both.
            assert publisher.get_subscription_count() == 1
        await until(lambda: other.get_subscription_count() == 0)
        assert publisher.get_subscription_count() == 1
        await viewer.unsubscribe("/talk")
        await until(lambda: publisher.get_subscription_count() == 0)

    visit(address, steps)


def test_who_was_refused_is_offered_the_topic_again(graph, server):
    """As foxglove-sdk refuses who subscribes too soon; viewers subscribe once to each offer."""
    _, address = server()

    async def steps(viewer):
        publisher = graph.node.create_publisher(String, "/talk", 10)
        graph.node.create_publisher(String, "/other", 10)
        first = (await viewer.find("/talk"))["id"]
        while viewer.channels["/talk"]["id"] == first:
            await viewer.read()
        assert first in viewer.gone
        await viewer.subscribe("/talk")
        await until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data="hello"))
        assert (await viewer.wait("/talk")).data == "hello"
        # What nobody wants is offered three times in all.
        while viewer.offers["/other"] < 3:
            await viewer.read()
        current = viewer.channels["/talk"]["id"]
        graph.node.create_publisher(String, "/later", 10)
        while viewer.offers["/later"] < 3:
            await viewer.read()
        assert viewer.offers["/other"] == 3
        assert current not in viewer.gone

    visit(address, steps)


def test_every_viewer_gets_what_is_latched_once(graph, server):
    results = graph.publisher(MeanIoU, RESULT, LATCHED, subscribers=0)
    results.publish(MeanIoU(frames=7))
    _, address = server()

    async def steps(first):
        await first.subscribe(RESULT)
        assert (await first.wait(RESULT)).frames == 7
        async with viewing(address) as second:
            await second.subscribe(RESULT)
            assert (await second.wait(RESULT)).frames == 7
            # Whoever comes back at once is new too, and nobody else gets it again.
            await second.unsubscribe(RESULT)
            await second.subscribe(RESULT)
            assert (await second.wait(RESULT)).frames == 7
        results.publish(MeanIoU(frames=8))
        assert (await first.wait(RESULT)).frames == 8
        assert first.seen[RESULT] == 2

    visit(address, steps)


def test_the_weakest_publisher_is_heard(graph, server):
    strong = graph.node.create_publisher(String, "/talk", LATCHED)
    _, address = server()

    async def steps(viewer):
        await viewer.subscribe("/talk")
        await until(lambda: strong.get_subscription_count() == 1)
        weak = graph.node.create_publisher(String, "/talk", BEST_EFFORT)
        await until(lambda: weak.get_subscription_count() == 1)
        weak.publish(String(data="weak"))
        assert (await viewer.wait("/talk", lambda message: message.data == "weak")).data

    visit(address, steps)


def test_a_publisher_that_comes_back_is_seen_by_who_watched_it(graph, server):
    results = graph.publisher(MeanIoU, RESULT, LATCHED, subscribers=0)
    results.publish(MeanIoU(frames=3))
    _, address = server()

    async def steps(viewer):
        await viewer.subscribe(RESULT)
        assert (await viewer.wait(RESULT)).frames == 3
        number = viewer.channels[RESULT]["id"]
        graph.node.destroy_publisher(results)
        await until(lambda: graph.node.count_publishers(RESULT) == 0)
        # Time for the server to notice: what nobody watches goes.
        gone = graph.node.create_publisher(String, "/brief", 10)
        await viewer.find("/brief")
        graph.node.destroy_publisher(gone)
        while viewer.channels["/brief"]["id"] not in viewer.gone:
            await viewer.read()
        again = graph.node.create_publisher(MeanIoU, RESULT, LATCHED)
        again.publish(MeanIoU(frames=1))
        assert (await viewer.wait(RESULT)).frames == 1
        assert number not in viewer.gone

    visit(address, steps)


def test_a_viewer_that_stalls_costs_nobody_anything_and_loses_the_oldest(graph, server):
    process, address = server()
    publisher = graph.node.create_publisher(UInt8MultiArray, "/large", 10)
    results = graph.publisher(MeanIoU, RESULT, LATCHED, subscribers=0)
    load = serialize_message(UInt8MultiArray(data=bytes(250_000)))

    async def steps(viewer):
        await viewer.find("/large")
        await viewer.subscribe(RESULT)
        host, port = re.match(r"ws://(.*):(\d+)", address).groups()
        stalled = socket.create_connection((host, int(port)))
        asked = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        asked += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        stalled.sendall(f"{asked}Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n\r\n".encode())
        told = await asyncio.to_thread(stalled.recv, 4096)
        assert b"101 Switching" in told
        # What it asks for is known once it has been offered, to the other viewer, too.
        while not publisher.get_subscription_count():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(viewer.read(), 0.5)
            number = viewer.channels["/large"]["id"]
            wish = {"op": "subscribe", "subscriptions": [{"id": number, "channelId": number}]}
            stalled.sendall(masked(json.dumps(wish).encode()))
        before = memory(process.pid)
        for index in range(400):
            publisher.publish(load)
            if index % 10 == 9:
                results.publish(MeanIoU(frames=index))
                # The viewer that reads gets everything that matters meanwhile.
                await viewer.wait(RESULT, lambda message, index=index: message.frames == index)
        grown = memory(process.pid) - before
        # When it reads again, it is sent what it had subscribed to: more than fits in the buffers
        # of the two sockets, which are those of the system. (A small one fills slowly: each 2 kB
        # wait for a timer of TCP.)
        stalled.settimeout(0)
        taken = 0
        while taken < 20_000_000:
            publisher.publish(load)
            with contextlib.suppress(BlockingIOError):
                while got := stalled.recv(1 << 20):
                    taken += len(got)
            await asyncio.sleep(0.005)
        stalled.close()
        return grown

    # 400 messages are 100 MB; 128 of them, 32 MB, may wait for the one that stalls.
    assert visit(address, steps) < 60e6
    assert process.returncode is None


def masked(payload):
    """Return a text frame of a client."""
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def memory(pid):
    """Return the bytes that a process holds."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096


def test_pictures_are_small_and_few_enough_not_to_crowd_out_scores(graph, server):
    _, address = server(picture_rate=0.01)
    images = graph.node.create_publisher(Image, IMAGE, 10)
    compressed = graph.node.create_publisher(CompressedImage, f"{IMAGE}/jpeg", 10)
    picture = np.zeros((1080, 1920, 3), np.uint8)
    picture[:, 960:] = (200, 100, 50)
    raw = Image(height=1080, width=1920, step=5760, encoding="rgb8")
    raw.header.stamp.sec = 77
    raw.header.frame_id = "front"
    raw.data.frombytes(picture.tobytes())
    png = CompressedImage(format="png")
    png.data.frombytes(cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes())

    async def steps(viewer):
        await viewer.subscribe(IMAGE)
        await viewer.subscribe(f"{IMAGE}/jpeg")
        assert viewer.channels[IMAGE]["schemaName"] == "sensor_msgs/msg/CompressedImage"
        await until(lambda: images.get_subscription_count() and compressed.get_subscription_count())
        images.publish(raw)
        shown = await viewer.wait(IMAGE)
        # At once, so that none is due.
        for _ in range(5):
            images.publish(raw)
        compressed.publish(png)
        other = await viewer.wait(f"{IMAGE}/jpeg")
        assert viewer.seen[IMAGE] == 1
        return shown, other

    for shown in visit(address, steps):
        pixels = cv2.imdecode(shown.data, cv2.IMREAD_COLOR)
        assert pixels.shape == (360, 640, 3)
        assert pixels[180, 500].tolist() == pytest.approx([50, 100, 200], abs=4)
        assert len(shown.data) < 20_000


def test_the_stamp_and_the_frame_of_a_picture_stay(graph, server):
    _, address = server()
    images = graph.node.create_publisher(Image, IMAGE, 10)

    async def steps(viewer):
        await viewer.subscribe(IMAGE)
        await until(images.get_subscription_count)
        message = Image(height=1, width=1, step=1, encoding="mono8", data=[9])
        message.header.stamp.sec, message.header.stamp.nanosec = 77, 5
        message.header.frame_id = "front"
        # No picture, and then one.
        images.publish(Image(height=9, width=9, step=9, encoding="no such", data=[1]))
        while True:
            images.publish(message)
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(viewer.wait(IMAGE), 1)

    header = visit(address, steps).header
    assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (77, 5, "front")


def test_nested_messages_with_constants_and_bytes_are_decoded(graph, server):
    diagnostics = graph.node.create_publisher(DiagnosticArray, "/diagnostics", 10)
    _, address = server()
    status = DiagnosticStatus(level=DiagnosticStatus.WARN, name="/bag_replayer: replay")
    status.values = [KeyValue(key="played (s)", value="1.5")]

    async def steps(viewer):
        await viewer.subscribe("/diagnostics")
        await until(diagnostics.get_subscription_count)
        diagnostics.publish(DiagnosticArray(status=[status]))
        return await viewer.wait("/diagnostics", lambda message: len(message.status))

    (shown,) = visit(address, steps).status
    assert (shown.level, shown.name, shown.values[0].value) == (1, "/bag_replayer: replay", "1.5")


def test_a_message_too_large_to_keep_is_not_shown_and_said(graph, server):
    process, address = server()
    publisher = graph.node.create_publisher(UInt8MultiArray, "/large", 10)

    async def steps(viewer):
        await viewer.subscribe("/large")
        await until(publisher.get_subscription_count)
        publisher.publish(UInt8MultiArray(data=bytes(2**20)))
        publisher.publish(UInt8MultiArray(data=bytes(7)))
        return await viewer.wait("/large")

    assert len(visit(address, steps).data) == 7
    line = process.wait_for_output("a message on /large is not shown")
    assert "expected at most 1048576" in line


def test_the_command_serves_and_ends_where_the_port_is_taken(ros_process, graph):
    graph.publisher(MeanIoU, RESULT, LATCHED, subscribers=0).publish(MeanIoU(frames=5))
    process = ros_process("deeplab_miou.cli", "foxglove", "--port", "0")
    address = address_of(process)

    async def steps(viewer):
        await viewer.subscribe(RESULT)
        return await viewer.wait(RESULT)

    assert visit(address, steps).frames == 5
    port = address.rpartition(":")[2]
    second = ros_process("deeplab_miou.cli", "foxglove", "--port", port)
    assert second.wait() == 1
    assert f"port {port}" in second.output
    assert "Traceback" not in second.output
    assert process.stop()[0] == 0


def test_without_the_sdk_it_says_what_to_install(ros_process, tmp_path):
    (tmp_path / "foxglove.py").write_text("raise ImportError('No module named foxglove')")
    process = ros_process("deeplab_miou.cli", "foxglove")
    assert process.wait() == 1
    assert "requirements-foxglove.txt" in process.output
    assert "Traceback" not in process.output
