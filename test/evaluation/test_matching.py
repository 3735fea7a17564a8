from hypothesis import given
from hypothesis import strategies as st

from deeplab_miou.evaluation.matching import match

MS = 1_000_000


def slowly(images, labels, tolerance):
    """The definition, written out: equal stamps, then the nearest two of all that are left."""
    images, labels, pairs = set(images), set(labels), []
    while True:
        near = [(abs(i - k), i, k) for i in images for k in labels if abs(i - k) <= tolerance]
        if not near:
            return sorted(pairs)
        _, image, label = min(near)
        pairs.append((image, label))
        images.remove(image)
        labels.remove(label)


stamps = st.lists(st.integers(0, 60), unique=True, max_size=25)


@given(stamps, stamps, st.integers(0, 30))
def test_pairs_are_those_of_the_definition(images, labels, tolerance):
    assert match(images, labels, tolerance) == slowly(images, labels, tolerance)


def test_without_tolerance_equal_stamps_pair_and_no_others():
    assert match([3, 1, 2], [2, 4, 3], 0) == [(2, 2), (3, 3)]


def test_labels_a_little_early_find_their_own_image():
    images = [k * 33 * MS for k in range(90)]
    labels = [stamp - MS for stamp in images[::3]]
    assert match(images, labels, 50 * MS) == [(stamp + MS, stamp) for stamp in labels]


def test_equal_stamps_come_before_nearer_ones_of_others():
    assert match([10, 20], [20, 11], 100) == [(10, 11), (20, 20)]
    assert match([10], [11, 10], 5) == [(10, 10)]


def test_of_two_equally_near_the_earlier_is_taken():
    assert match([10], [8, 12], 5) == [(10, 8)]
    assert match([8, 12], [10], 5) == [(8, 10)]


def test_half_a_million_stamps_take_seconds():
    images = list(range(0, 500_000 * 33, 33))
    pairs = match(images, [stamp + 5 for stamp in images], 16)
    assert len(pairs) == len(images)
    assert all(label - image == 5 for image, label in pairs)
