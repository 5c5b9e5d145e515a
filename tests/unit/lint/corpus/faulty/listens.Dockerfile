FROM python:3.11.9-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -i http://mirror.example/pypi/simple/ -r requirements.txt
RUN pip install --no-cache-dir \
    --extra-index-url http://10.0.0.7:3141/root/dev uvloop
RUN pip install --no-cache-dir -i http://127.0.0.1:3141/root/pypi httptools
COPY . .
USER 1000
HEALTHCHECK CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8000), 4)"]
CMD ["uvicorn", "main:app"]
