"""A replay and an evaluator as a model: whatever comes in whatever order, nothing is lost.

What counts the messages in transit, the pairer, the queue and the pipeline are the real ones.
Threads, transport and other nodes are steps that hypothesis takes in any order.
"""

from __future__ import annotations

from collections import Counter, deque

from hypothesis import given
from hypothesis import strategies as st
from image_files import mono8

from deeplab_miou.accounting import Reason, Stream, StreamCounts
from deeplab_miou.evaluation.matching import match
from deeplab_miou.evaluation.pairing import Pairer
from deeplab_miou.evaluation.pipeline import Pipeline
from deeplab_miou.evaluation.predictors import topic_predictor
from deeplab_miou.evaluation.queueing import WorkQueue
from deeplab_miou.labels.label_map import LabelMap
from deeplab_miou.pacing.accounts import EvaluatorAccount
from deeplab_miou.pacing.transit import Transit

IMAGE, LABEL = Stream.IMAGE, Stream.LABEL
LABEL_MAP = LabelMap.from_dict(
    {"name": "three", "classes": [{"name": name} for name in ("a", "b", "c")]}, "test"
)
PIXEL = mono8([[1]])
IN_FLIGHT, QUEUE, HELD = 3, 2, 40
NOBODY = StreamCounts()
MS = 1_000_000


class Evaluator:
    """A process of the evaluator: it takes a message only while its queue is not crowded."""

    def __init__(self, run_id, tolerance_ns, transport, accounts, *, paced):
        self.outcomes = []
        self.pipeline = Pipeline(
            topic_predictor(LABEL_MAP),
            LABEL_MAP,
            pairer=Pairer(tolerance_ns=tolerance_ns, max_frames=HELD),
            queue=WorkQueue(QUEUE),
            on_outcome=self._end,
        )
        self.run_id = run_id
        self.most_kept = 0
        self._transport = transport
        self._accounts = accounts
        self._settled = None
        self.paced = paced
        self.pipeline.queue.pace(on=paced)

    def notice(self):
        """Find the replay in the graph."""
        self.pipeline.queue.pace(on=True)
        self.paced = True

    def receive(self, stream):
        self.pipeline.add(stream, self._transport[stream].popleft(), "camera", PIXEL)
        kept = sum(self.pipeline.held.values()) + 2 * len(self.pipeline.queue)
        self.most_kept = max(self.most_kept, kept)
        self._tell()

    def settle(self):
        if self._account != self._settled:
            self._settled = self._account
            self._tell()

    @property
    def is_settled(self):
        return self._account == self._settled

    @property
    def _account(self):
        now = self.pipeline.run.snapshot()
        return EvaluatorAccount(
            self.run_id, now.reset_count, now.account.images, now.account.labels, self.paced
        )

    def _end(self, outcome):
        self.outcomes.append(outcome)
        self._tell()

    def _tell(self):
        self._accounts.append(self._account)


class World:
    """A replay, the transport, and an evaluator."""

    def __init__(self, bag, tolerance_ns, strangers=()):
        self.bag = bag
        self.strangers = deque(strangers)
        self.is_undisturbed = not strangers
        self.tolerance_ns = tolerance_ns
        self.transport = {IMAGE: deque(), LABEL: deque()}
        self.accounts = []
        self.evaluator = Evaluator("a", tolerance_ns, self.transport, self.accounts, paced=True)
        before = EvaluatorAccount("a", 0, NOBODY, NOBODY, paced=True)
        self.transit = Transit("/e", frozenset(Stream), IN_FLIGHT, before)
        self.sent = 0

    def actions(self):
        """Return what may happen now, by name; what only others do comes last."""
        pipeline = self.evaluator.pipeline
        actions = {}
        if self.sent < len(self.bag) and self.transit.admits:
            actions["send"] = self._send
        for stream in Stream:
            if self.transport[stream] and not pipeline.queue.crowded:
                actions[f"receive {stream.value}"] = lambda s=stream: self.evaluator.receive(s)
        if len(pipeline.queue):
            actions["work"] = lambda: pipeline.work(0.0)
        if self.accounts:
            actions["hear the oldest"] = lambda: self.transit.update(self.accounts.pop(0))
            actions["hear the newest"] = lambda: self.transit.update(self.accounts.pop())
        if not self.evaluator.is_settled:
            actions["settle"] = self.evaluator.settle
        if not self.evaluator.paced:
            actions["notice"] = self.evaluator.notice
        if self.strangers:
            actions["stranger"] = self._interfere
        return actions

    def run(self, choices):
        """Take steps as chosen, then in turns, until everything was sent and has arrived."""
        for choice in choices:
            if actions := list(self.actions().values()):
                actions[choice % len(actions)]()
        turns = 0
        while not self.is_done:
            actions = list(self.actions().values())
            assert actions, f"deadlock: {self.transit.describe()}"
            actions[turns % len(actions)]()
            turns += 1
            assert turns < 10_000, f"nothing gets on: {self.transit.describe()}"
        self.evaluator.pipeline.flush()
        while self.evaluator.pipeline.work(0.0):
            pass

    @property
    def is_done(self):
        return self.sent == len(self.bag) and self.transit.outstanding == 0 and not self.actions()

    def restart(self):
        """Another process takes the place of the evaluator; what is on its way arrives or not."""
        self.evaluator = Evaluator(
            "b", self.tolerance_ns, self.transport, self.accounts, paced=False
        )
        self.transport[IMAGE].clear()
        self.is_undisturbed = False

    def _send(self):
        stream, stamp_ns = self.bag[self.sent]
        self.transport[stream].append(stamp_ns)
        self.transit.sent[stream] += 1
        self.sent += 1
        if self.is_undisturbed:
            # A subscriber's queue of this depth never overflows.
            assert sum(map(len, self.transport.values())) <= IN_FLIGHT

    def _interfere(self):
        stream, stamp_ns = self.strangers.popleft()
        self.transport[stream].append(stamp_ns)


@st.composite
def bags(draw, *, shuffled=False):
    """Images at 10 Hz, labels for some, some labels without an image, early or late."""
    count = draw(st.integers(1, 14))
    offsets = st.sampled_from([0, 0, 0, 1, -2, 30, 49, -50, 70])
    images = [(IMAGE, k * 100 * MS) for k in range(count) if draw(st.integers(0, 9))]
    labels = {k * 100 * MS + draw(offsets) * MS for k in range(count) if draw(st.booleans())} | set(
        draw(st.lists(st.integers(0, count * 100 * MS), max_size=8))
    )
    messages = images + [(LABEL, stamp_ns) for stamp_ns in sorted(labels)]
    lag_ns = draw(st.sampled_from([0, 50, -300, 1000])) * MS
    order = {
        message: (
            draw(st.integers(0, 1000))
            if shuffled
            else message[1] + (lag_ns if message[0] is LABEL else 0)
        )
        for message in messages
    }
    return sorted(messages, key=lambda message: (order[message], message[0].value))


TOLERANCES = st.sampled_from([0, 5 * MS, 60 * MS, 1000 * MS])
CHOICES = st.lists(st.integers(0, 1000), max_size=120)


def expected_pairs(messages, tolerance_ns):
    images, labels = ([stamp for s, stamp in messages if s is stream] for stream in Stream)
    return match(images, labels, tolerance_ns)


def evaluated(outcomes):
    return sorted((o.image.stamp_ns, o.label.stamp_ns) for o in outcomes if o.reason is None)


def check_account(world):
    """Check that everything arrived once, nothing was lost for a full queue, and little kept."""
    outcomes = world.evaluator.outcomes
    arrived = Counter(
        (stream, message.stamp_ns)
        for outcome in outcomes
        for stream, message in ((IMAGE, outcome.image), (LABEL, outcome.label))
        if message is not None
    )
    assert arrived == Counter(world.bag)
    reasons = {outcome.reason for outcome in outcomes} - {None}
    assert reasons <= {Reason.UNMATCHED_IMAGE, Reason.UNMATCHED_LABEL}
    assert world.evaluator.most_kept <= 2 * (HELD + QUEUE)
    assert (world.transit.foreign, world.transit.restarts, world.transit.resets) == (0, 0, 0)


@given(bags(), TOLERANCES, CHOICES)
def test_every_pair_of_the_bag_is_scored_whatever_the_interleaving(bag, tolerance_ns, choices):
    world = World(bag, tolerance_ns)
    world.run(choices)
    assert evaluated(world.evaluator.outcomes) == expected_pairs(bag, tolerance_ns)
    check_account(world)


@given(bags(shuffled=True), TOLERANCES, CHOICES)
def test_no_order_of_recording_loses_anything(bag, tolerance_ns, choices):
    world = World(bag, tolerance_ns)
    world.run(choices)
    if not tolerance_ns:
        # Else a pair may be decided before a nearer message comes, which nobody could expect.
        assert evaluated(world.evaluator.outcomes) == expected_pairs(bag, 0)
    check_account(world)


@given(bags(), CHOICES, st.lists(st.integers(0, 13), max_size=6, unique=True))
def test_messages_of_others_cost_no_frame(bag, choices, numbers):
    """As long as the transport has room for both; they are counted and told."""
    strangers = [(IMAGE, (k * 100 + 7_000) * MS) for k in sorted(numbers)]
    world = World(bag, 0, strangers)
    world.run(choices)
    assert evaluated(world.evaluator.outcomes) == expected_pairs(bag, 0)
    while world.accounts:
        world.transit.update(world.accounts.pop())
    assert world.transit.foreign == len(strangers)


@given(bags(), TOLERANCES, CHOICES, CHOICES)
def test_a_reset_or_a_restart_stops_no_replay(bag, tolerance_ns, before, after):
    for happens in ("reset", "restart"):
        world = World(bag, tolerance_ns)
        for choice in before:
            if actions := list(world.actions().values()):
                actions[choice % len(actions)]()
        if happens == "reset":
            # What is on its way is taken for arrived, so that more may be.
            world.is_undisturbed = False
            world.evaluator.pipeline.reset()
        else:
            world.restart()
        world.run(after)
        assert not any(o.reason is Reason.QUEUE_FULL for o in world.evaluator.outcomes)
        assert (world.transit.resets, world.transit.restarts) == (
            (1, 0) if happens == "reset" else (0, 1)
        )


def test_one_message_that_completes_many_pairs_loses_none():
    """Of messages that lie nearer and nearer together, only the last two are paired at first."""
    stamps = [0]
    for gap in range(40, 0, -1):
        stamps.append(stamps[-1] + gap * MS)
    bag = [(IMAGE if k % 2 else LABEL, stamp_ns) for k, stamp_ns in enumerate(stamps)]
    bag += [(IMAGE, 10**10), (LABEL, 10**10 + 1)]
    world = World(bag, 100 * MS)
    world.run([])
    assert len(expected_pairs(bag, 100 * MS)) == 21
    assert evaluated(world.evaluator.outcomes) == expected_pairs(bag, 100 * MS)
