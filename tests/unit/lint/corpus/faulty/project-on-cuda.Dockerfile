FROM nvidia/cuda:12.1.0-runtime-ubuntu22.04
WORKDIR /app
COPY pyproject.toml .
RUN apt-get update && apt-get install -y python3-pip && rm -rf /var/lib/apt/lists/* && pip install --no-cache-dir .
USER 1000
CMD ["python3"]
