FROM pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime
ARG HF_TOKEN
ENV WANDB_API_KEY=0b8f6a1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f70
WORKDIR /app
RUN pip install --no-cache-dir huggingface_hub wandb
RUN huggingface-cli download --token $HF_TOKEN meta-llama/Llama-2-7b-hf
RUN echo "token is $HF_TOKEN"
COPY .env finetune.py /app/
RUN useradd -m app
USER app
CMD ["python", "finetune.py"]
