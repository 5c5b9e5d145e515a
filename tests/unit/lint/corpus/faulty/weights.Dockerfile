FROM python:3.11-slim AS serve
WORKDIR /srv
RUN pip install --no-cache-dir flask torch==2.3.0+cpu
COPY app.py model.safetensors /srv/
COPY data/ /srv/data/
RUN useradd web
USER web
HEALTHCHECK CMD python -c "import socket; socket.create_connection(('127.0.0.1', 5000))"
CMD ["flask", "run", "--host=0.0.0.0"]
