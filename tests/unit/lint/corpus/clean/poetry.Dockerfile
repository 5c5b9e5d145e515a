FROM python:3.11.9-slim AS builder
RUN pip install --no-cache-dir poetry==1.8.3
ENV POETRY_NO_INTERACTION=1 POETRY_VIRTUALENVS_IN_PROJECT=1 POETRY_CACHE_DIR=/tmp/poetry_cache
WORKDIR /app
COPY pyproject.toml poetry.lock ./
RUN --mount=type=cache,target=/tmp/poetry_cache poetry install --without dev --no-root

FROM python:3.11.9-slim
ENV PATH=/app/.venv/bin:$PATH
RUN useradd --create-home me
COPY --from=builder --chown=me:me /app/.venv /app/.venv
COPY --chown=me:me src /app/src
USER me
WORKDIR /app
ENTRYPOINT ["python", "-m", "src.train"]
