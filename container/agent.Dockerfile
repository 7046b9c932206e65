# An image of an agent: it has all of smsweep, and runs trials as processes of its container, or as training jobs.
# Build it in the repository's folder:
#   docker build -t smsweep-agent -f container/agent.Dockerfile .
ARG BASE=python:3.11-slim

FROM ${BASE}
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
COPY pyproject.toml README.md LICENSE requirements.txt wheel[s] /build/
COPY smsweep /build/smsweep
RUN python3 -m venv /opt/smsweep && cd /build && /opt/smsweep/bin/pip install --no-cache-dir -c requirements.txt \
    '.[postgres]' && rm -rf /build
ENV PATH=/opt/smsweep/bin:${PATH} SMSWEEP_DIR=/var/lib/smsweep
WORKDIR /var/lib/smsweep
ENTRYPOINT ["smsweep"]
CMD ["--help"]
