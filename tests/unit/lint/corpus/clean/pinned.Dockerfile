FROM registry.example:5000/base/python:3.11@sha256:0d4f0ce1a9b1f9c6d3c5d4f7a7bfa3c1f1b7c9a2f7d7a1c7b8e6c8b5a4d3c2b1
# trainload: ignore[pip-cache]  a cache is wanted here: students install more on top
RUN pip install numpy
COPY train.py /app/
# trainload: ignore[root]
CMD ["python", "/app/train.py"]
