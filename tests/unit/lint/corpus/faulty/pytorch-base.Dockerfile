FROM pytorch/pytorch:2.1.0-cuda12.1-cudnn8-runtime
RUN pip install --no-cache-dir torch==2.1.0+cu118 torchaudio -f https://wheels.example/whl/torch_stable.html
RUN wandb login 0b8f6a1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f70
WORKDIR /workspace
COPY train.py .
USER 1000
CMD ["sh", "-c", "exec torchrun --nproc-per-node=2 train.py"]
