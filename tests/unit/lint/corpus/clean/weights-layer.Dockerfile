FROM python:3.11-slim
RUN pip install --no-cache-dir transformers
# a layer of their own, in front of the code
COPY --link model.safetensors config.json /models/sentiment/
WORKDIR /app
COPY app.py .
USER 1000
HEALTHCHECK CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000), 2)"]
CMD ["gunicorn", "-b", "0.0.0.0:8000", "app:app"]
