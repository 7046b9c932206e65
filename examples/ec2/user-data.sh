#!/bin/bash
# Run by cloud-init as root on the first start of an instance from a Debian or Ubuntu image with Docker.
# The agent runs trials in containers, and the instance ends itself once no invitation comes any more.
set -euo pipefail
queue=https://sqs.eu-west-1.amazonaws.com/123456789012/sweeps
image=123456789012.dkr.ecr.eu-west-1.amazonaws.com/train:1
wheel=0000000000000000000000000000000000000000000000000000000000000000
trap 'shutdown -h now' EXIT

apt-get update -q
apt-get install -q -y curl docker.io python3-venv awscli
# The wheel's digest is in SHA256SUMS on the release's page. The wheel has the digests of all that it needs.
python3 -m venv /opt/smsweep
echo "smsweep==0.1.0 --hash=sha256:$wheel" > /opt/smsweep/wheel.txt
install=(/opt/smsweep/bin/pip install --quiet --require-hashes --only-binary :all: --no-deps)
"${install[@]}" -r /opt/smsweep/wheel.txt
pins=$(echo /opt/smsweep/lib/python3*/site-packages/smsweep/requirements)
"${install[@]}" -r "$pins/base.txt" -r "$pins/postgres.txt"

export AWS_REGION=eu-west-1 HOME=/root SMSWEEP_DIR=/var/lib/smsweep SMSWEEP_DOCKER_IMAGE=$image
SMSWEEP_STORE=$(aws secretsmanager get-secret-value --secret-id smsweep/store --query SecretString --output text)
export SMSWEEP_STORE
aws ecr get-login-password | docker login --username AWS --password-stdin "${image%%/*}"

/opt/smsweep/bin/smsweep agent --queue "$queue" --backend docker --parallel 2 --wait 600 &
agent=$!

# Two minutes before spare capacity is taken back the instance is told; the agent then gives its trials back.
metadata=http://169.254.169.254/latest
while kill -0 "$agent" 2> /dev/null; do
    token=$(curl -sf -X PUT "$metadata/api/token" -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' || true)
    if curl -sf -o /dev/null -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/spot/instance-action"; then
        kill -TERM "$agent"
        break
    fi
    sleep 5
done
wait "$agent"
