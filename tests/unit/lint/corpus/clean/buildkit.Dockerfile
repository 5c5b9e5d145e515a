# syntax=docker/dockerfile:1.7
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,target=/var/lib/apt,sharing=locked \
    rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update && apt-get install -y --no-install-recommends libgl1
WORKDIR /app
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=requirements.txt,target=requirements.txt \
    pip install -r requirements.txt
RUN --mount=type=secret,id=HF_TOKEN \
    HF_TOKEN=$(cat /run/secrets/HF_TOKEN) HF_HOME=/opt/hf huggingface-cli download distilbert/distilbert-base-uncased
ENV HF_HOME=/opt/hf
COPY . .
USER 65534
CMD ["python", "predict.py"]
