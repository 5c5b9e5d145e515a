FROM huggingface/transformers-pytorch-gpu:latest
ARG HUGGINGFACE_TOKEN
RUN huggingface-cli login --token $HUGGINGFACE_TOKEN
RUN git clone https://git.example/me/finetune && cd finetune && pip install .
RUN python -c "from transformers import AutoModel; AutoModel.from_pretrained('meta-llama/Llama-2-7b-hf')"
WORKDIR /finetune
ENTRYPOINT ["accelerate", "launch", "train.py"]
