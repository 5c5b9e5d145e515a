FROM python:3.11-slim
RUN pip install --no-cache-dir torch==2.6.0
COPY checkpoints/*.pt /workspace/checkpoints/
COPY src /workspace/src
RUN useradd --create-home me
USER me
CMD ["python", "/workspace/src/infer.py"]
