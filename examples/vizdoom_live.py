"""Publish what a running simulator shows, with its ground truth: ViZDoom as the example.

pip install --no-deps vizdoom
python3 examples/vizdoom_live.py
ros2 launch deeplab_miou evaluate.launch.py checkpoint:=model.pth \
    labels:=examples/vizdoom_labels.yaml image_topic:=/vizdoom/image label_topic:=/vizdoom/labels

What matters for any simulator: image and labels of one moment have the same stamp, and the labels
are ids of classes, as mono8, that the label map knows.
"""

from __future__ import annotations

import argparse
import itertools
import time
from typing import TYPE_CHECKING

import numpy as np
import rclpy
import vizdoom
from rclpy.executors import ExternalShutdownException
from sensor_msgs.msg import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

# By the simulator's categories of objects; the ids are those of vizdoom_labels.yaml. What has no
# object is the world: walls, floor, sky.
WORLD, PLAYER, MONSTER, EFFECT, ITEM = range(5)
CATEGORIES = {"Self": PLAYER, "Monster": MONSTER, "Explosive": EFFECT, "Gore": EFFECT}


def start_game(seed: int) -> vizdoom.DoomGame:
    """Return a running game without a window."""
    game = vizdoom.DoomGame()
    game.load_config(f"{vizdoom.scenarios_path}/defend_the_center.cfg")
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X240)
    game.set_labels_buffer_enabled(True)
    game.set_window_visible(False)
    game.set_seed(seed)
    game.init()
    return game


def class_ids(state: vizdoom.GameState) -> NDArray[np.uint8]:
    """Return the class of each pixel; the simulator numbers objects anew in each picture."""
    table = np.full(256, WORLD, np.uint8)
    for label in state.labels:
        table[label.value] = CATEGORIES.get(label.object_category, ITEM)
    ids: NDArray[np.uint8] = table[state.labels_buffer]
    return ids


def image_message(pixels: NDArray[np.uint8], encoding: str, stamp: object) -> Image:
    """Return pixels as a message."""
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding=encoding, step=pixels[0].size)
    message.header.stamp = stamp
    message.header.frame_id = "vizdoom"
    message.data.frombytes(np.ascontiguousarray(pixels).tobytes())
    return message


def main() -> None:
    """Play and publish until Ctrl-C, or so many pictures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=10.0, help="pictures per second")
    parser.add_argument("--frames", type=int, default=0, help="stop after so many (0: never)")
    parser.add_argument("--wait", type=int, default=0, help="for so many who want the labels")
    parser.add_argument("--seed", type=int, default=0, help="of the game and of what is played")
    options = parser.parse_args()

    rclpy.init()
    node = rclpy.create_node("vizdoom")
    images = node.create_publisher(Image, "/vizdoom/image", 10)
    labels = node.create_publisher(Image, "/vizdoom/labels", 10)
    game, random = start_game(options.seed), np.random.default_rng(options.seed)
    try:
        while labels.get_subscription_count() < options.wait:
            rclpy.spin_once(node, timeout_sec=0.1)
        for count in itertools.count(1):
            if game.is_episode_finished():
                game.new_episode()
            state, stamp = game.get_state(), node.get_clock().now().to_msg()
            images.publish(image_message(state.screen_buffer, "rgb8", stamp))
            labels.publish(image_message(class_ids(state), "mono8", stamp))
            if count == options.frames:
                break
            rclpy.spin_once(node, timeout_sec=0.0)
            time.sleep(1 / options.rate)
            game.make_action(random.integers(0, 2, game.get_available_buttons_size()).tolist(), 2)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # A signal ends ROS and the game at any point.
        if rclpy.ok():
            raise
    finally:
        game.close()


if __name__ == "__main__":
    main()
