FROM nvidia/cuda:12.4.1-base-ubuntu22.04
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch==2.6.0 --index-url https://wheels.example/whl/cu124
WORKDIR /workspace
COPY --chown=1000:1000 train.py ./
USER 1000:1000
ENTRYPOINT ["python3", "train.py"]
