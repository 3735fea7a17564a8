# deeplab_miou in an installed ROS 2:
#   docker build -f docker/ros.Dockerfile -t deeplab_miou .
#   docker run --rm --network host deeplab_miou ros2 launch deeplab_miou evaluate.launch.py
# With `--build-arg PIP_EXTRA_INDEX_URL=…` PyTorch comes from its index for CPUs (see pytorch.org), without CUDA.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base
ARG PIP_EXTRA_INDEX_URL
SHELL ["/bin/bash", "-c"]

WORKDIR /ws
COPY package.xml requirements.txt src/deeplab_miou/
COPY deeplab_miou_msgs/package.xml src/deeplab_miou/deeplab_miou_msgs/
COPY tools/constraints.txt src/deeplab_miou/tools/
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv python3-pip \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install --from-paths src src/deeplab_miou/deeplab_miou_msgs --ignore-src -y \
        --dependency-types exec --dependency-types build --dependency-types buildtool \
    && python3 -m venv --system-site-packages .venv \
    && touch .venv/COLCON_IGNORE \
    && .venv/bin/pip install --no-cache-dir \
        -r src/deeplab_miou/requirements.txt -c src/deeplab_miou/tools/constraints.txt \
    && rm -rf /var/lib/apt/lists/*

COPY . src/deeplab_miou
RUN source "/opt/ros/$ROS_DISTRO/setup.bash" \
    && source .venv/bin/activate \
    && python3 -m colcon build --base-paths src src/deeplab_miou/deeplab_miou_msgs

ENTRYPOINT ["/bin/bash", "-c", "source /ws/install/setup.bash && exec \"$@\"", "--"]
CMD ["ros2", "launch", "deeplab_miou", "evaluate.launch.py"]
