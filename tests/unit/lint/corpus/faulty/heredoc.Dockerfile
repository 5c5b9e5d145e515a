# syntax=docker/dockerfile:1
FROM ubuntu:22.04
RUN <<EOF
apt-get update
apt-get install -y python3-pip git
EOF
WORKDIR /app
COPY pyproject.toml uv.lock ./
COPY --from=ghcr.io/astral-sh/uv:latest /uv /bin/uv
RUN uv sync --frozen --no-install-project
COPY src/ src/
CMD ["uv", "run", "vllm", "serve", "Qwen/Qwen2.5-0.5B-Instruct", "--port", "8001"]
