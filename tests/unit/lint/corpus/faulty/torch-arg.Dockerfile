FROM nvidia/cuda:11.8.0-base-ubuntu22.04
ARG TORCH=2.3.0
ARG CU=cu121
RUN pip3 install --no-cache-dir torch==${TORCH}+${CU} -f https://x.example/whl/torch_stable.html
USER 1000
CMD ["python3"]
