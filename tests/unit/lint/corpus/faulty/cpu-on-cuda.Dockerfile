ARG CUDA=12.4.1
FROM nvidia/cuda:${CUDA}-devel-ubuntu22.04
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      # the interpreter
      python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir \
      torch==2.6.0 \
      --index-url https://wheels.example/whl/cpu
COPY --chown=1000 . /workspace
WORKDIR /workspace
USER 1000
CMD python3 train.py
