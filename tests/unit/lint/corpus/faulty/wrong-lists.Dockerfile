FROM python:3.11.9-slim
RUN apt-get update && apt-get install -y git && rm -rf /var/lib/apt/list/*
USER 1000
CMD ["python"]
