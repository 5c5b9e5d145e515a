FROM vllm/vllm-openai:v0.6.3
RUN useradd -m serve
USER serve
ENV HF_HOME=/home/serve/.cache/huggingface
HEALTHCHECK CMD curl -f http://localhost:8000/health || exit 1
ENTRYPOINT ["vllm", "serve", "--port", "8000"]
CMD ["Qwen/Qwen2.5-7B-Instruct"]
