FROM python:3.11.9-slim
LABEL org.opencontainers.image.source="https://github.com/org/repo" maintainer="team <team@corp.example>"
RUN bash -o pipefail -c "apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*"
RUN sh -c 'pip install --no-cache-dir numpy==1.26.4'
USER 1000
CMD ["python","a.py","--token-file","/run/secrets/t"]
