FROM nvcr.io/nvidia/pytorch:24.10-py3
WORKDIR /workspace/app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps -e .
USER 1000:1000
# docker run --gpus all --ipc=host --ulimit memlock=-1 img
CMD ["torchrun", "--standalone", "--nproc-per-node=gpu", "train.py"]
