# The image of an agent. It has all of smsweep, and runs trials as processes in its container, or as training jobs.
# Build it in the folder of the repository:
#   docker build -t smsweep-agent -f container/agent.Dockerfile .
ARG BASE=python:3.11-slim@sha256:90744cff8f32887f075c47d747a173ff333e9e98801667af93c357fa9f5e28ff

FROM ${BASE} AS build
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
COPY pyproject.toml README.md LICENSE requirements/build.txt wheel[s] /build/
COPY smsweep /build/smsweep
RUN cd /build && python3 -m venv tools && tools/bin/pip install --no-cache-dir --require-hashes --no-deps -r build.txt && \
    tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist .

FROM ${BASE}
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS
COPY smsweep/requirements wheel[s] /build/
COPY --from=build /build/dist /build/dist
RUN cd /build && python3 -m venv /opt/smsweep && \
    /opt/smsweep/bin/pip install --no-cache-dir --require-hashes --no-deps -r base.txt -r postgres.txt && \
    /opt/smsweep/bin/pip install --no-index --no-deps dist/*.whl && rm -rf /build
ENV PATH=/opt/smsweep/bin:${PATH} SMSWEEP_DIR=/var/lib/smsweep
WORKDIR /var/lib/smsweep
ENTRYPOINT ["smsweep"]
CMD ["--help"]
