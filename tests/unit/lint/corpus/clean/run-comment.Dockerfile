# docker build -t ddp . && docker run --gpus all --shm-size=8g ddp
FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime
WORKDIR /app
RUN pip install --no-cache-dir --upgrade pip && pip install --no-cache-dir lightning==2.4.0
COPY train.py /app/
USER 1000
CMD ["torchrun", "--standalone", "--nproc-per-node=4", "train.py", "--num-workers", "8"]
