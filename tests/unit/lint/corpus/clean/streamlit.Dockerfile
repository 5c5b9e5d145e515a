FROM python:3.11-slim-bookworm
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends curl=7.* \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY requirements.txt requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip python -m pip install -r requirements.txt
RUN addgroup --system app && adduser --system --ingroup app app
COPY --chown=app:app pages/ pages/
COPY --chown=app:app app.py .
USER app
ENV MAX_TOKENS=512 TOKENIZERS_PARALLELISM=false HF_HOME=/tmp/hf
EXPOSE 8501
HEALTHCHECK CMD curl --fail http://localhost:8501/_stcore/health || exit 1
ENTRYPOINT ["streamlit", "run", "app.py", "--server.port=8501"]
