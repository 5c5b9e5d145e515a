FROM python:3.11.9-slim
WORKDIR /app
COPY . .
USER 1000
HEALTHCHECK CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 9000), 4)"]
CMD exec gunicorn -w 4 --bind 127.0.0.1:9000 main:app
