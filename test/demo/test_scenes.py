import hashlib
import subprocess
import sys

import numpy as np
import pytest

from deeplab_miou.demo.canvas import Camera, clip_near
from deeplab_miou.demo.scenes import SceneRenderer, outlined

CLASSES = {0, 1, 2, 5, 8, 10, 11, 13}
SEED = 2_000_004


@pytest.fixture(scope="module")
def renderer():
    return SceneRenderer(SEED)


@pytest.fixture(scope="module")
def drive(renderer):
    return [renderer.render(2.0 * index) for index in range(12)]


def digest(scene):
    return hashlib.sha256(scene.image.tobytes() + scene.label.tobytes()).hexdigest()


def test_shapes_and_types(drive):
    for scene in drive:
        assert scene.image.shape == (480, 640, 3)
        assert scene.label.shape == (480, 640)
        assert scene.image.dtype == scene.label.dtype == np.uint8


def test_the_same_moment_is_the_same_frame_in_any_order(renderer, drive):
    again = SceneRenderer(SEED)
    for index in (7, 2, 11):
        assert digest(again.render(2.0 * index)) == digest(drive[index])
        assert digest(renderer.render(2.0 * index)) == digest(drive[index])


def test_another_process_renders_the_same_bytes(drive):
    program = (
        "import hashlib; from deeplab_miou.demo.scenes import SceneRenderer;"
        f"s = SceneRenderer({SEED}).render(4.0);"
        "print(hashlib.sha256(s.image.tobytes() + s.label.tobytes()).hexdigest())"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert output.stdout.decode().strip() == digest(drive[2])


def test_rendering_needs_neither_torch_nor_ros():
    program = (
        "import sys; import deeplab_miou.demo.scenes;"
        "print(sorted({'torch', 'rclpy', 'rosbags'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert output.stdout.decode().strip() == "[]"


def test_seeds_are_different_drives(drive):
    other = SceneRenderer(SEED + 1).render(0.0)
    assert np.mean(other.label != drive[0].label) > 0.1


def test_only_known_classes_and_all_of_them_over_a_drive(drive):
    seen = set()
    for scene in drive:
        ids = {int(value) for value in np.unique(scene.label)}
        assert ids <= CLASSES | {255}
        seen |= ids
    assert seen == CLASSES | {255}


def test_classes_have_honest_sizes(drive):
    labels = np.stack([scene.label for scene in drive])
    shares = {c: float(np.mean(labels == c)) for c in CLASSES | {255}}
    assert 0.2 < shares[0] < 0.6
    assert shares[10] > 0.03
    assert shares[2] > 0.05
    assert 0.001 < shares[5] < 0.05
    assert 0.0005 < shares[11] < 0.1
    assert shares[255] < 0.1


def test_the_sky_is_above_and_the_road_below(drive):
    for scene in drive:
        assert not np.any(scene.label[:60] == 0)
        assert not np.any(scene.label[300:] == 10)
        assert np.mean(scene.label[400:, 260:380] == 0) > 0.5


def test_neighbouring_frames_are_alike_and_distant_ones_are_not(renderer):
    first, next_one, later = (renderer.render(t) for t in (6.0, 6.1, 9.0))
    near = np.mean(first.label != next_one.label)
    far = np.mean(first.label != later.label)
    assert 0 < near < 0.12
    assert far > 1.5 * near


def test_images_have_light_and_colour(drive):
    for scene in drive:
        assert 50 < scene.image.mean() < 200
        assert scene.image.std() > 25


def test_any_size_shows_the_same_scene(drive):
    small = SceneRenderer(SEED, 240, 320).render(4.0)
    assert small.image.shape == (240, 320, 3)
    both = drive[2].label[::2, ::2]
    certain = (both != 255) & (small.label != 255)
    assert np.mean(both[certain] == small.label[certain]) > 0.93


def test_every_border_is_ignored_except_the_inside_of_poles(drive):
    label = drive[3].label
    for a, b in ((label[:, :-1], label[:, 1:]), (label[:-1], label[1:])):
        border = (a != b) & (a != 255) & (b != 255)
        assert not np.any(border & (a != 5) & (b != 5))


def test_outlined_marks_one_pixel_on_either_side():
    label = np.zeros((5, 6), np.uint8)
    label[:, 3:] = 2
    expected = np.array([0, 0, 255, 255, 2, 2])
    assert np.array_equal(outlined(label), np.tile(expected, (5, 1)))


def test_outlined_keeps_thin_poles():
    label = np.zeros((5, 5), np.uint8)
    label[:, 2] = 5
    assert np.array_equal(outlined(label)[0], [0, 255, 5, 255, 0])


def test_camera_projects_the_axis_to_its_centre_and_turns_right():
    camera = Camera(focal=500.0, center_x=320.0, horizon=200.0, x=1.0, y=1.5, yaw=0.0)
    ahead = camera.see(np.array([[1.0, 1.5, 10.0], [2.0, 0.0, 10.0]]))
    assert camera.project(ahead) == pytest.approx(np.array([[320.0, 200.0], [370.0, 275.0]]))
    turned = Camera(focal=500.0, center_x=320.0, horizon=200.0, x=0.0, y=0.0, yaw=0.1)
    column = turned.project(turned.see(np.array([[0.0, 0.0, 10.0]])))[0, 0]
    assert column == pytest.approx(320 - 500 * np.tan(0.1))


def test_clip_near_cuts_at_the_plane():
    square = np.array([[0.0, 0, -1], [1, 0, -1], [1, 0, 1], [0, 0, 1]])
    cut = clip_near(square, 0.5)
    assert cut[:, 2].min() == pytest.approx(0.5)
    assert len(cut) == 4
    assert len(clip_near(square - [0, 0, 5.0], 0.5)) == 0
