FROM python:3.11.9-slim
WORKDIR /app
COPY app.py .
LABEL owner="team" registry.token="hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"
USER 1000
CMD ["flask", "--app", "app", "run", "--port", "8080"]
