FROM python:3.11.9-slim
ADD data.tar.gz /app/data/
COPY main.py /app/
USER 1000
CMD ["python"]
