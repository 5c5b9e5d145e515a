FROM python:3.11-slim
WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
# everything
COPY . /app
USER 1000:1000
CMD ["python", "train.py"]
