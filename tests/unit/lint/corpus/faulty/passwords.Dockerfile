FROM python:3.12-slim-bookworm
RUN useradd -m ada && echo "ada:hunter22" | chpasswd
RUN chpasswd <<< "bob:pw12"
RUN useradd -m -p 'abcdef' eve && useradd -m -p "$(openssl passwd x)" mallory
RUN --mount=type=secret,id=PW,env=PW echo "root:$PW" | chpasswd
USER ada
CMD ["python"]
