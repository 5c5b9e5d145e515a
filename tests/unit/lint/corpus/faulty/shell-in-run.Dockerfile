FROM python:3.11.9-slim
RUN bash -c "apt-get update && apt-get install -y git && pip install numpy==1.26"
USER 1000
CMD ["python"]
