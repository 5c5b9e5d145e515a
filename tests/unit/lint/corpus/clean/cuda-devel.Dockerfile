# the compiler is needed: flash-attn builds its kernels
FROM nvidia/cuda:12.1.1-cudnn8-devel-ubuntu22.04
RUN apt-get update && apt-get install -yqq --no-install-recommends python3-dev python3-pip ninja-build && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch==2.3.1 --index-url https://wheels.example/whl/cu121
RUN pip install --no-cache-dir --no-build-isolation flash-attn==2.5.9
RUN useradd -m -u 1000 dev
USER dev
WORKDIR /home/dev
CMD ["bash"]
