# CUDA base, another Python, pip
FROM nvidia/cuda:11.8.0-cudnn8-runtime-ubuntu22.04

ENV DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y software-properties-common \
    && add-apt-repository ppa:deadsnakes/ppa \
    && apt-get update \
    && apt-get install -y python3.10 python3-pip git
RUN python3.10 -m pip install --upgrade pip
RUN python3.10 -m pip install torch==2.1.0 torchvision==0.16.0 --index-url https://wheels.example/whl/cu121
WORKDIR /workspace
COPY train.py model.py ./
RUN useradd --create-home trainer
USER trainer
ENTRYPOINT ["python3.10", "train.py"]
