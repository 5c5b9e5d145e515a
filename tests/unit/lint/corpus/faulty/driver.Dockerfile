FROM python:3.11-slim
RUN pip install --no-cache-dir torch==2.4.1 torchvision --index-url https://wheels.example/whl/cu124
WORKDIR /app
COPY train.py .
USER 1000
CMD ["python", "train.py"]
