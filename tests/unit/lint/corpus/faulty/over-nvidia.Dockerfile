FROM nvcr.io/nvidia/pytorch:24.10-py3
RUN pip install --no-cache-dir torch==2.5.0 torchvision
USER 1000
CMD ["python", "a.py"]
