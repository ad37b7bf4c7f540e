# The server as an image: `docker compose up --build`. What it is started with is in docker-compose.yml.
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY docs/adr docs/adr
COPY graph_schema graph_schema
COPY storage storage
COPY ingestion ingestion
COPY reasoning reasoning
COPY execution execution
COPY memory memory
COPY server server
COPY clients clients
# pip reads no pins of uv: they are written out for it.
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['tool']['uv']['constraint-dependencies'], sep='\n')" > constraints.txt
RUN python -m venv /opt/latewood && /opt/latewood/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/latewood /opt/latewood
RUN useradd --system --uid 10001 --create-home latewood
USER 10001
WORKDIR /home/latewood
ENV PATH=/opt/latewood/bin:$PATH PYTHONUNBUFFERED=1
# Loopback only, as without an image: the server asks for no credential (docs/adr/0041).
ENTRYPOINT ["latewood"]
CMD ["serve", "--host", "127.0.0.1", "--port", "8321"]
