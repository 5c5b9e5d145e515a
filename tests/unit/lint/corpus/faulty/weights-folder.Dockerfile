FROM python:3.11.9-slim
WORKDIR /app
COPY src models /app/
USER 1000
CMD ["python", "a.py"]
