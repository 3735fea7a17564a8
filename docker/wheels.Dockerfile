# deeplab_miou with ROS 2 from wheels, for x86-64:
#   docker build -f docker/wheels.Dockerfile -t deeplab_miou_wheels .
#   docker run --rm -v "$PWD:/data" -w /data deeplab_miou_wheels deeplab-miou evaluate drive/ …
FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /deeplab_miou
COPY . .
RUN PIP_NO_CACHE_DIR=1 python3 tools/bootstrap.py
ENV PATH=/deeplab_miou/.venv/bin:/deeplab_miou/.venv/lib/deeplab_miou:$PATH
CMD ["deeplab-miou", "--help"]
