FROM python:3.11 AS build
COPY requirements.txt .
RUN pip install --user -r requirements.txt

FROM python:3.11-slim
COPY --from=build /root/.local /root/.local
ENV PATH=/root/.local/bin:$PATH
WORKDIR /app
COPY . .
EXPOSE 8080
CMD gunicorn --bind 0.0.0.0:8080 --workers 2 app:app
