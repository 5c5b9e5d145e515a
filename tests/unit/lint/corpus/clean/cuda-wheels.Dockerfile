FROM nvidia/cuda:12.4.1-base-ubuntu22.04
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
 && apt-get install --yes --no-install-recommends \
      # runtime of opencv
      libgl1 libglib2.0-0 \
      python3.10 python3-pip \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /tmp/*
COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir -r /tmp/requirements.txt --index-url https://mirror.example/whl/cu124
WORKDIR /workspace
COPY src/ ./src/
RUN useradd -u 1001 trainer && chown -R trainer /workspace
USER 1001:1001
ENTRYPOINT ["python3.10", "-m", "src.train"]
