# build:  docker build -t ddp .
# run:    docker run --gpus all -v $PWD/data:/data ddp
FROM nvidia/cuda:12.1.1-runtime-ubuntu22.04
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/root/.cache/pip \
    pip3 install torch==2.3.1 torchvision
WORKDIR /app
COPY *.py ./
USER 1000
CMD ["python3", "-m", "torch.distributed.launch", "--nproc_per_node=4", "train.py"]
